"""Whether our graphs and weights are those of the reference implementations."""
