"""Imports what the networks of the benchmark of reach need, once for all of their processes."""

from paramgen._optional.torchvision import ensure_torchvision

ensure_torchvision()

import diffusers as diffusers  # noqa: E402 - torchvision comes first
import timm as timm  # noqa: E402
import torchvision as torchvision  # noqa: E402
from transformers.models.auto import modeling_auto as modeling_auto  # noqa: E402
