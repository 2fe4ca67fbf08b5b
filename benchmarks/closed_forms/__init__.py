"""What closed-form initializations and modifiers promise, measured without training."""
