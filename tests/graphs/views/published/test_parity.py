"""The same graphs as the reference implementation drew, node for node; and the same weights, given its checkpoints."""

import base64
import gzip
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.parity.published import built, family_of, softmax_of, view_of
from paramgen.architectures import resolve
from paramgen.graphs.analysis.slot_roles import Role
from paramgen.graphs.views.published.view import published_graph, published_view
from paramgen.hypernets.hypernet import Hypernet
from paramgen.published.convert import convert
from paramgen.slots.manifest import Manifest

ASSETS = Path(__file__).parents[3] / "assets" / "published"
CHECKPOINTS = os.environ.get("PARAMGEN_REFERENCE")  # a folder with the reference's three small checkpoints
FAST = ("resnet18", "squeezenet1_1", "mobilenet_v3_small", "swin_t", "tinyvit__sdpa", "tinyvit__explicit_softmax")
ONE_OF_A_KIND = (
    "alexnet", "convnext_tiny", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "regnet_x_400mf",
    "resnet50", "shufflenet_v2_x0_5", "vgg11_bn", "vit_b_32",
)  # fmt: skip
NAMES = sorted(
    path.name.removesuffix(".json.gz")
    for path in ASSETS.glob("*.json.gz")
    if not path.name.startswith(("torchvision", "e2e_"))
)


def asset(name: str) -> Any:
    return json.loads(gzip.decompress((ASSETS / f"{name}.json.gz").read_bytes()))


def marked(name: str) -> Any:
    return pytest.param(name, marks=() if name in (*FAST, "vit_tiny") or "gpt2" in name else pytest.mark.slow)


def classifiers() -> list[Any]:
    """Return torchvision's with their sizes; all but one of a kind are for the thorough run."""
    return [
        pytest.param(name, sizes, marks=pytest.mark.slow if name in ONE_OF_A_KIND else pytest.mark.thorough)
        for name, sizes in asset("torchvision").items()
    ]


def wanted_requests(reference: Any, manifest: Manifest) -> list[tuple[str, int, Role, tuple[int, ...]]]:
    """What the reference predicts from each node; it tells roles by shapes, names and the last two places."""
    wanted: list[tuple[str, int, Role, tuple[int, ...]]] = []
    for node, parameter in sorted((int(node), name) for node, name in reference["parameters"].items()):
        slot = manifest.get(parameter) or manifest[parameter.removesuffix(".weight")]
        name, shape = slot.tied_to or slot.name, slot.shape
        role: Role
        if len(shape) == 1 and not name.endswith("bias"):
            bias = f"{name.removesuffix('weight')}bias"
            wanted += [(name, node, "scale", shape), (bias, node, "bias", manifest[bias].shape)]
            continue
        if len(shape) == 1:
            role = "class_bias" if node in reference["class_bias"] else "bias"
        elif len(shape) == 3:
            role = "position"
        elif node in reference["class_weight"]:
            role = "class_weight"
        else:
            role = "embedding" if "gpt2" in reference["of"] and reference["words"][node] == "pos_enc" else "weight"
        wanted.append((name, node, role, shape))
    return wanted


@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_the_graph_is_the_published_one(name: str) -> None:
    reference = asset(name)
    graph = published_graph(*built(name), family=family_of(name), softmax=softmax_of(name))
    assert list(graph.names) == reference["names"]
    assert list(graph.primitives) == reference["words"]
    assert [None if shape is None else list(shape) for shape in graph.shapes] == reference["shapes"]
    assert graph.edges.tolist() == sorted(reference["edges"])


@pytest.mark.parametrize("name", [marked(name) for name in NAMES])
def test_the_view_is_the_published_one(name: str) -> None:
    reference = asset(name) | {"of": name}
    view = view_of(name)
    nodes = len(reference["names"])
    lengths = np.frombuffer(zlib.decompress(base64.b64decode(reference["distances"])), np.uint8).reshape(nodes, nodes)
    assert view.vocabulary == "published"
    assert view.primitives.tolist() == reference["primitives"]
    assert (view.distances.numpy() == lengths).all()
    requests = [(request.slot, request.node, request.role, request.shape) for request in view.requests]
    assert requests == wanted_requests(reference, built(name)[1])
    slots = reference["slots"]
    assert {request.slot for request in view.requests} == {slot for slot in slots if "l2" in slots[slot]}
    assert all(view.shapes[request.node] == request.shape for request in view.requests)


@pytest.fixture(scope="module")
def hypernets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Hypernet]:
    if CHECKPOINTS is None:
        pytest.skip("Set PARAMGEN_REFERENCE to the folder of the reference's checkpoints.")
    folder = tmp_path_factory.mktemp("converted")
    files = {"ghn3": "ghn3_small.pt", "logah_vit": "logah_vit_small.pt", "logah_gpt": "logah_gpt_small.pt"}
    for family, file in files.items():
        convert(Path(CHECKPOINTS) / file, folder / family)
    return {family: Hypernet.from_pretrained(folder / family) for family in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_the_published_ones(name: str, hypernets: dict[str, Hypernet]) -> None:
    slots = asset(name)["slots"]
    with torch.no_grad():
        for slot, weight in hypernets[family_of(name)](view_of(name)):
            wanted = slots.pop(slot)
            assert list(weight.shape) == wanted["shape"]
            values, given = np.array(wanted["values"]), weight.flatten()[wanted["at"]].double().numpy()
            assert np.linalg.norm(given - values) <= 1e-5 * np.linalg.norm(values), slot
            if weight.dim() != 3:  # a position table's first row is random
                assert weight.double().norm().item() == pytest.approx(wanted["l2"], rel=1e-5), slot
    assert not [slot for slot in slots if "l2" in slots[slot]]


@pytest.mark.parametrize(("name", "sizes"), classifiers())
def test_every_torchvision_classifier_has_a_graph_of_the_published_size(name: str, sizes: list[int]) -> None:
    made = resolve(f"torchvision:{name}")
    assert made.module is not None and made.example is not None
    graph = published_graph(made.module, made.manifest, made.example, family="ghn3", softmax="fused")
    view = published_view(made.module, made.manifest, made.example, family="ghn3", softmax="fused")
    assert [len(graph), len(graph.edges), int((view.distances > 0).sum())] == sizes
