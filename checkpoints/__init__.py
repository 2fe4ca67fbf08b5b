"""Zoos of trained checkpoints, and which hypernets have been published. An application, not of the wheel."""
