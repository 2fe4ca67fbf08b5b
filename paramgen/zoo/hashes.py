"""The hash of a checkpoint's tensors, by which duplicates and damage are found."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the hash of names, types, shapes and values, in the order of the names."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
