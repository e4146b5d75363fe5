"""The command ``neuralyzer``: one verb a file, each a few lines over the public functions."""
