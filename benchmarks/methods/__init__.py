"""Every unlearning algorithm on the same worlds, judged alike: a leaderboard of what is left behind."""
