"""Unlearning algorithms, one file each, and what they share: the task, the tuner, the repair.

A new algorithm is a file with a class here, or an entry point in the group ``neuralyzer.methods``.
"""
