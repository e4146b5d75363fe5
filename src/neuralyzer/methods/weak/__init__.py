"""Weak unlearning: outputs approximately those of a retrained model."""
