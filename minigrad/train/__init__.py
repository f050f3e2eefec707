"""Training: the Trainer, its callbacks, metrics and checkpoints; pictures of what came out."""
