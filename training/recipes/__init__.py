"""One recipe per file; each has `config() -> Config`."""
