"""One zoo per file; each has `config() -> ZooRecipe`."""
