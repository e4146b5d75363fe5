"""Rows with subjects and ids, their sources, and requests to erase some of them."""
