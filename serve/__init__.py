"""Prediction over HTTP: requests are read, bounded and answered here; what they ask for is one call of paramgen."""
