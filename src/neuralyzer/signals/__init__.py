"""What can be read off a model about rows: one number a row, higher where the model knows the row better.

One file a signal. A new one is a file with a class here, or an entry point in the group ``neuralyzer.signals``.
"""
