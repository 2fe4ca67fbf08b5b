"""The service and the readers under load and under hostile input."""
