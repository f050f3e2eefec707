"""Timings: an entry per row of the op table, the classifier's training step, the cost of an import.

``python -m minigrad.benchmarks --help`` lists what can be run. Here live no kernels and no tests.
"""
