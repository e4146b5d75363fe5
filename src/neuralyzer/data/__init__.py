"""Rows with subjects and ids, where they come from, and requests to erase some of them."""
