"""Training of a diffusion model over the weights in a zoo."""
