"""Training: the Trainer, its callbacks, metrics and checkpoints, and fit in one line."""

from .callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    TensorBoard,
)
from .checkpoints import load_checkpoint, load_weights, save_checkpoint
from .fitting import choose_loss, evaluate, fit, predict
from .history import History
from .metrics import (
    AUROC,
    Accuracy,
    ConfusionMatrix,
    F1Score,
    Mean,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Perplexity,
    Precision,
    R2Score,
    Recall,
    TopKAccuracy,
)
from .nonfinite import NonFiniteError, find_nonfinite
from .progress import ProgressBar
from .task import LightningModule
from .trainer import Trainer

__all__ = [
    "AUROC",
    "Accuracy",
    "CSVLogger",
    "Callback",
    "ConfusionMatrix",
    "EarlyStopping",
    "F1Score",
    "History",
    "LambdaCallback",
    "LearningRateMonitor",
    "LightningModule",
    "Mean",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "ModelCheckpoint",
    "NonFiniteError",
    "Perplexity",
    "Precision",
    "ProgressBar",
    "R2Score",
    "Recall",
    "TensorBoard",
    "TopKAccuracy",
    "Trainer",
    "choose_loss",
    "evaluate",
    "find_nonfinite",
    "fit",
    "load_checkpoint",
    "load_weights",
    "predict",
    "save_checkpoint",
]
