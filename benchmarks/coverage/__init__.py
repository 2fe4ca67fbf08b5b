"""Which networks of the libraries can be filled, by name and as live modules."""
