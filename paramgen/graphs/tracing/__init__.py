"""From a network to its graph: its forward pass is followed function by function, as a rule without values."""
