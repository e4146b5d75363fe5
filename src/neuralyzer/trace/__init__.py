"""The residual trace: how much of a subject's data a model still holds, with an error bar.

Everything here is arithmetic on signal values: float64 arrays, members by rows. No model is touched. The formulas are
in docs/trace.md and docs/statistics.md, with measured error rates.
"""
