"""Strong unlearning: parameters approximately those of a retrained model."""
