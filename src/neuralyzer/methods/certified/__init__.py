"""Algorithms with a certificate: a bound on how well the model can be told from a retrained one."""
