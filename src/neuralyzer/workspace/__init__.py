"""The workspace on the disk: paths, policy, digests, atomic writes and locks; it knows nothing of models."""
