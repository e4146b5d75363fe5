"""Kinds of model, one file each: the only place that knows a framework."""
