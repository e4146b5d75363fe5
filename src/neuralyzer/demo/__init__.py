"""The demo: a customer demands erasure from a classifier of handwritten digits, at once."""
