"""The way of a case as resumable stages, with escalation; nothing is overwritten."""
