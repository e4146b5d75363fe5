"""Certified unlearning: a bound on how far the weights are from retrained ones."""
