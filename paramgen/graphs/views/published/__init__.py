"""The view of a network in the code of GHN-3, GHN-2 and LoGAH, node for node (arXiv:2303.04143, 2405.16287)."""
