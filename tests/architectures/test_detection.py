"""Detectors are followed on fake tensors, and every parameter of theirs is reached."""

import pytest

from paramgen.architectures import resolve
from paramgen.graphs.analysis.slot_roles import elements_by_role
from paramgen.graphs.tracing.fallbacks import graph_of

KINDS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "keypointrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn_v2",
    "ssdlite320_mobilenet_v3_large",
)


@pytest.mark.parametrize("name", KINDS)
def test_every_head_is_reached(name: str) -> None:
    architecture = resolve(f"torchvision:{name}")
    graph = graph_of(architecture)
    assert (graph.traced_by, graph.failures, graph.unreachable()) == ("fake tensors", (), [])
    assert "unknown" not in elements_by_role(graph, architecture.manifest)


def test_what_is_built_elsewhere_detects_as_ever() -> None:
    resolve("torchvision:ssdlite320_mobilenet_v3_large")
    from torchvision.models import detection

    module = detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None).eval()
    assert "postprocess_detections" not in vars(module) and "postprocess" not in vars(module.transform)
