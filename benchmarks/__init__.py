"""Timings that can be believed: every row of the op table and whole workloads, on several sides, each checked first.

``python -m minigrad bench --help`` lists what can be run; ``docs/benchmarks.md`` says how to read it. Here live no
kernels. A side never grades itself: results are compared with a float64 run, times with the driver's clock and the roof.
"""
