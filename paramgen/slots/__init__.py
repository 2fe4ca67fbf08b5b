"""Slots: every entry of a state dict, what its constructor draws for it, and a generator of its own for each."""
