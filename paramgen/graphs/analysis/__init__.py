"""What the slots of a graph are: their roles, addresses and neighbours, and the family of the whole model."""
