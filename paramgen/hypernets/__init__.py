"""Learned initializers: networks that read a graph and yield its weights."""
