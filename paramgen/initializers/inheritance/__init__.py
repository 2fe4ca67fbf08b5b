"""Weights of a trained model, the donor, for a network of other sizes: which tensor each slot takes, and how."""
