"""Predictions for others: the client of a server, what a stranger may ask for, and the folder of an endpoint."""
