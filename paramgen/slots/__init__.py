"""Slots: every entry of a state dict, the init program that fills it by default, and its own random generator."""
