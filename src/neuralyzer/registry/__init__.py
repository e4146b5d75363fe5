"""The registry: which rows belong to whom, which runs saw them and when, and where copies are."""
