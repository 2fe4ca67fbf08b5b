"""Language models whose axes are known by name: how they grow, and how their tables move to another tokenizer."""
