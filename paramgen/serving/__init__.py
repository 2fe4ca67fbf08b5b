"""Predictions for others: the client of a server, what untrusted callers may request, and endpoints on the Hub."""
