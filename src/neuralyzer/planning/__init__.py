"""Options with predicted seconds, trace and utility; the choice among them and its reasons."""
