"""The command ``neuralyzer``: one file per verb, each a few lines over the public functions."""
