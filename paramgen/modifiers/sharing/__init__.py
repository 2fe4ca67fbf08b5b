"""Weights that share the entries of a small memory: which weight has which entry, and what holds it in training."""
