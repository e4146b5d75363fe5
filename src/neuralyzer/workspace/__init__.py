"""Paths, policy, digests, atomic writes and training history: what lies on the disk, and nothing of models."""
