"""Weights from words: what they save in training, and whether they are copies."""
