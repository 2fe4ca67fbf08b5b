"""Measurements that need files from elsewhere, or a quiet machine; run as `python -m benchmarks.FOLDER.NAME`."""
