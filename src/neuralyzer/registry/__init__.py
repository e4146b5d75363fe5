"""Which rows belong to whom, which runs saw them and when, and where copies of their content lie."""
