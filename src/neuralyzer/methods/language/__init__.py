"""Algorithms for language models: rows of tokens, of which a sequence's probability is the product."""
