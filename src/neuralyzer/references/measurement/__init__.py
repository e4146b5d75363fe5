"""The measurement of reference models, and of any other model in the same way, by every signal."""
