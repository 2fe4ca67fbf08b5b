"""Language models by what each of their slots is: how they grow, and how their tables move to another tokenizer."""
