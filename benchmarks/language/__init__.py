"""Language models: a base made here, fine-tuned on the questions about TOFU's fictitious authors."""
