"""Encoders: graphs to node states. One file per encoder, with its module and its configuration."""
