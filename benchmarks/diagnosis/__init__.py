"""Measures of `diagnose` that train: what papers found with them, found again on small networks."""
