"""Callbacks of other libraries' training loops, which record what a model was trained on."""
