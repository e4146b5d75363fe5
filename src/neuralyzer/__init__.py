"""Neuralyzer."""
