"""Reading reference models, and any other model the same way, with every signal."""
