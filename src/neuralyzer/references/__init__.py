"""Reference models: who is left out of which, training them, reading them, and the store of what was read."""
