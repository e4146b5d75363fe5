"""The acceptance suite that the demo's team runs on new weights."""
