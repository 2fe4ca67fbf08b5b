"""Limits on what strangers ask for: said in a line, before it is computed."""

from typing import Any

import pytest
import torch
from torch import nn, zeros

import paramgen.serving.admission
from paramgen.errors import ArchitectureError, OptionError
from paramgen.prediction import Prediction, prepare
from paramgen.serving.admission import Limits, graph_within, network_within, peak_within


def predicted(init: str, width: int = 32) -> Prediction:
    return prepare(nn.Sequential(nn.Linear(width, width)), init=init, example_input=((zeros(2, width),), {}))


def test_long_lists_are_refused_before_they_are_read() -> None:
    for part in ("nodes", "slots"):
        with pytest.raises(OptionError, match=f"A graph of 3 {part}; at most 2 are served"):
            graph_within({part: [None] * 3}, Limits(nodes=2))


def test_a_node_has_few_attributes() -> None:
    node = {"op": "linear", "attributes": {str(number): 1 for number in range(65)}}
    with pytest.raises(OptionError, match="A node of 65 attributes; at most 64 are served"):
        graph_within({"nodes": [node], "slots": []}, Limits())


def test_named_networks_are_limited_too() -> None:
    with pytest.raises(OptionError, match="at most 1,000 are served"):
        network_within("timm:test_vit", {}, Limits(elements=1000))
    with pytest.raises(OptionError, match="nodes; at most 10 are served"):
        network_within("timm:test_vit", {}, Limits(nodes=10))


def test_what_a_library_raises_of_values_is_a_refusal() -> None:
    with pytest.raises(
        ArchitectureError, match="Cannot build 'timm:resnet18'.*Check the values that are set"
    ) as refused:
        network_within("timm:resnet18", {"features_only": True}, Limits())
    assert "\n" not in str(refused.value)


def test_the_machine_being_short_of_memory_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(paramgen.serving.admission, "describe", short)
    with pytest.raises(MemoryError):
        network_within("timm:resnet18", {}, Limits())


def test_a_peak_beyond_the_limit_is_refused_before_the_first_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn", lambda *_, **__: pytest.fail("it was drawn"))
    peak = peak_within(predicted("orthogonal"), Limits())
    assert peak_within(predicted("orthogonal"), Limits(memory=peak)) == peak
    with pytest.raises(OptionError, match="would take about .* bytes of memory; at most 1,000 are given to one"):
        peak_within(predicted("orthogonal"), Limits(memory=1000))


def test_large_factorizations_are_refused() -> None:
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(8200, 8200, bias=False))
    wide = prepare(module, init="orthogonal", example_input=((zeros(2, 8200, device="meta"),), {}))
    with pytest.raises(OptionError, match="shorter side is 8,200"):
        peak_within(wide, Limits())
