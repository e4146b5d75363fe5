"""Audit of the original, verdict on what was unlearned, and the team's own acceptance tests."""
