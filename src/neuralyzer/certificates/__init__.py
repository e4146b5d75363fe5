"""The signed certificate of an erasure, and the check that anyone can make of it."""
