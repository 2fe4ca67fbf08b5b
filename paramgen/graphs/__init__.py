"""Graphs: the schema, the tracer, what a hypernet sees of them, their JSON and their pictures."""
