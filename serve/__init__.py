"""Prediction over HTTP: requests are read, limited and answered here; the prediction itself is one call of paramgen."""
