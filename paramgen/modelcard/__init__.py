"""The model card of a folder: its text, its metadata, its template, and pictures of the weights."""
