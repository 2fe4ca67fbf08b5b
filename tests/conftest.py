"""What holds for every test: one thread, no network, and property tests that try the same examples everywhere."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A deadline would make a slow machine fail; random examples would make CI fail on a change that is not at fault.
settings.register_profile("paramgen", deadline=None, derandomize=True)
settings.load_profile("paramgen")
