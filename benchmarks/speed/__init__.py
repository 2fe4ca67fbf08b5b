"""Time and memory of predictions, graphs and training steps."""
