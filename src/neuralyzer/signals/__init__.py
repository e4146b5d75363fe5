"""The signals: each reads one number per row off a model, higher where the model knows the row better.

Each signal is one file. A new one is a file with a class here, or an entry point in the group ``neuralyzer.signals``.
"""
