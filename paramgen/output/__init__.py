"""From a prediction to a folder: it is written, proved by its library, described by its card, and pushed."""
