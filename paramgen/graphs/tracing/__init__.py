"""Tracing: a network's forward pass is followed function by function, usually without values, and becomes its graph."""
