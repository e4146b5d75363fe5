"""A project: the settings in ``neuralyzer.toml``, its rows, and the current model of its lineage."""
