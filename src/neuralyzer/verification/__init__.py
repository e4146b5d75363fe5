"""The audit of the original, the verdict on an unlearned model, and the team's own acceptance tests."""
