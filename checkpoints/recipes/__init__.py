"""One zoo per file; each has `config() -> Recipe`."""
