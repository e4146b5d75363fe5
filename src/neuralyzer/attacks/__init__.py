"""Membership inference as people know it: LiRA and RMIA, with ROC curves and intervals.

Everything here is arithmetic on readings of the ``margin`` signal, float64 arrays of members by rows; no model is
touched. The members of a split are the attacker's shadow models.
"""
