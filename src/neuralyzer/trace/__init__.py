"""The residual trace: how much of a subject's data a model still holds, with an error bar.

Everything here is arithmetic on readings, float64 arrays of members by rows; no model is touched. The formulas and
what was measured of them stand in the documentation's page on the residual trace.
"""
