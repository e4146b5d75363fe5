"""The report of a case: one HTML file that needs nothing else."""
