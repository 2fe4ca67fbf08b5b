"""Make torchvision importable where its compiled operators are not.

torchvision's wheel for one build of torch cannot load its operators under another (CUDA wheel, CPU torch). Importing
it then fails with `operator torchvision::nms does not exist`, and with it timm and every transformers model class.
Declaring the two schemas that torchvision looks up at import is enough to build, trace and load every network;
non-maximum suppression itself stays unavailable. A healthy installation is left alone.
"""

import functools
import importlib.util
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from paramgen._optional.light import COMPILER_PARTS, deferring, is_own_process

_PARTS: Final = ("torchvision.datasets", "torchvision.models", *COMPILER_PARTS)
_SCHEMAS: Final = ("nms", "qnms")
_libraries: Final[list[Any]] = []  # a torch.library.Library takes its schemas with it when it is collected


@functools.cache
def ensure_torchvision() -> None:
    """Declare torchvision's operators if torchvision is installed and cannot load them itself."""
    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None:
        return
    _declare(Path(found.origin).parent)
    if is_own_process() and "torchvision" not in sys.modules:
        # Without its networks, its data sets and what it marks for the compiler; or else whoever needs it imports it.
        with suppress(ImportError, AttributeError), deferring(_PARTS):
            importlib.import_module("torchvision")


def _declare(folder: Path) -> None:
    import torch

    for binary in folder.glob("_C*.so"):
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
