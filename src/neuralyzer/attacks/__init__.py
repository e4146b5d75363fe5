"""Published membership inference attacks: LiRA and RMIA, with ROC curves and intervals.

Everything here is arithmetic on values of the ``margin`` signal: float64 arrays, members by rows. No model is touched.
The members of a split are the attacker's shadow models.
"""
