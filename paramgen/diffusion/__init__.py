"""Weights from words: a diffusion model over the weights of trained networks (Gong et al., 2024, arXiv:2407.11966)."""
