"""Is a little training before the training worth it? Experiments on small networks."""
