"""Which weights of a network are kept or trained: criteria, masks, and what holds them in training."""
