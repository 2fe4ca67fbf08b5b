"""Make torchvision importable where its compiled operators are not.

torchvision's wheel for one build of torch cannot load its operators under another (CUDA wheel, CPU torch). Importing
it then fails with `operator torchvision::nms does not exist`, and with it timm and every transformers model class.
Declaring the two schemas that torchvision looks up at import is enough to build, trace and load every network;
non-maximum suppression itself stays unavailable. A healthy installation is left alone.
"""

import functools
import importlib.util
from pathlib import Path
from typing import Any, Final

_SCHEMAS: Final = ("nms", "qnms")
_libraries: Final[list[Any]] = []  # a torch.library.Library takes its schemas with it when it is collected


@functools.cache
def ensure_torchvision() -> None:
    """Declare torchvision's operators if torchvision is installed and cannot load them itself."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    import torch

    for binary in Path(found.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(binary))
            return
        except OSError:
            break
    for name in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, name):
            library = torch.library.Library("torchvision", "FRAGMENT")
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _libraries.append(library)
