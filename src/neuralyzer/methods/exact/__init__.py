"""Exact unlearning: weights distributed as after retraining, or made of the retained rows alone."""
