"""Detectors of torchvision, run so that a forward pass can be followed without values.

Which boxes are kept, and from which level of the pyramid each is cut, depends on values. Here a fixed number of boxes
is kept, the heads see the whole image of every level, and their own results are returned in place of the detections
made of them: every parameter is applied once to a tensor of the kind that it is applied to in training.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from paramgen._optional import require

BOXES: Final = 8
"""So many proposals of each image are followed."""


def follow_every_head(module: Any) -> None:
    """Let a detector run every head on fixed proposals; other networks stay as they are."""
    detection = require("torchvision.models.detection", extra="torchvision")
    rcnn = detection.generalized_rcnn.GeneralizedRCNN
    if not isinstance(module, (rcnn, detection.ssd.SSD, detection.retinanet.RetinaNet, detection.fcos.FCOS)):
        return
    module.transform.postprocess = lambda result, *_: result
    if isinstance(module, rcnn):
        module.rpn.filter_proposals = _first_proposals
        module.roi_heads.forward = lambda *given: _headed(module.roi_heads, *given)
    else:
        module.postprocess_detections = lambda head_outputs, *_: [head_outputs]


def _first_proposals(proposals: Tensor, objectness: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    """Return some proposals of each image with their scores, of shape (images, boxes, 5), in both places."""
    scores = objectness.view(*proposals.shape[:2], 1)
    found = torch.cat([proposals, scores], 2)[:, :BOXES]
    return found, found


def _headed(
    heads: Any, features: Mapping[str, Tensor], proposals: Tensor, *_: Any
) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
    """Return what the heads make of the proposals, and the proposals."""
    logits, boxes = heads.box_predictor(heads.box_head(_cut(heads.box_roi_pool, features)))
    found = {"proposals": proposals, "labels": logits, "boxes": boxes}
    for name in ("mask", "keypoint"):
        if getattr(heads, f"has_{name}")():
            inner = getattr(heads, f"{name}_head")(_cut(getattr(heads, f"{name}_roi_pool"), features))
            found[f"{name}s"] = getattr(heads, f"{name}_predictor")(inner)
    return [found], {}


def _cut(pool: Any, features: Mapping[str, Tensor]) -> Tensor:
    """Return tensors of a box's shape, (images, channels, height, width), as if every image were one box."""
    read = [level for name, level in features.items() if name in pool.featmap_names]
    levels = [functional.adaptive_avg_pool2d(level, pool.output_size) for level in read]
    return sum(levels[1:], levels[0])
