"""What the published GHN-3, GHN-2 and LoGAH code sees of a network, node for node (arXiv:2303.04143, 2405.16287)."""
