"""Folders and files that appear whole or not at all: planned, streamed to disk, and read piece by piece."""
