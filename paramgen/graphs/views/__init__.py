"""What a hypernet sees of a graph: our own view, and that of the published hypernets' code."""
