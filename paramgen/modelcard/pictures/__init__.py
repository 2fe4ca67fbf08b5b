"""Pictures of the weights in a folder: how their values lie along the depth, and what their matrices stretch."""
