"""Algorithms with a certificate: a bound on how well the model can be distinguished from a retrained one."""
