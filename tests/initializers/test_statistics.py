"""`statistics`: each weight at the size that its role has in trained networks, whatever the width."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.graphs.analysis.roles import linear_maps_of
from paramgen.graphs.analysis.weight_roles import weight_roles_of
from paramgen.hypernets.statistics import read_table
from paramgen.initializers import initializer_of
from paramgen.prediction import prepare
from paramgen.storage.pretrained import pretrained_folder

if TYPE_CHECKING:
    from conftest import Command

SHIPPED = pretrained_folder("statistics") / "table.json"
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 192, "depth": 3, "num_heads": 3, "num_classes": 10}
TWO = {"kind": "statistics", "format_version": 1, "sources": {}, "std": {"query": [2.0], "position": [0.5]}}


@pytest.mark.parametrize("width", [96, 384])
def test_the_sizes_are_the_tables_at_any_width(width: int) -> None:
    prediction = prepare("timm:vit_tiny_patch16_224", init="statistics", overrides={**VIT, "embed_dim": width})
    table, state = read_table(SHIPPED), prediction.state_dict()
    maps = linear_maps_of(prediction.graph, prediction.architecture.manifest)
    seen = set()
    for name, parts in weight_roles_of(prediction.graph, prediction.architecture.manifest, maps).items():
        for part in parts:
            expected = table.at(part.role, part.depth)
            if expected is None or part.role == "class_token":
                continue
            values = state[name][part.start : part.stop] if name in maps else state[name]
            fan_in = maps[name].fan_in if name in maps else 1.0
            assert float(values.std()) * math.sqrt(fan_in) == pytest.approx(expected, rel=0.1), (name, part.role)
            seen.add(part.role)
    attention = {"query", "key", "value", "attention_output"}
    assert {"stem", *attention, "pointwise", "pointwise_last", "position", "head"} <= seen


def test_norms_and_tables_of_tokens_keep_the_librarys_values() -> None:
    own = prepare("timm:vit_tiny_patch16_224", init="statistics", overrides=VIT)
    library = prepare("timm:vit_tiny_patch16_224", init="library", overrides=VIT).state_dict()
    for name in ("norm.weight", "blocks.0.norm1.weight", "blocks.0.norm1.bias"):
        assert own.rules[name] == "library" and torch.equal(own.state_dict()[name], library[name])
    gpt2 = prepare("gpt2", init="statistics", overrides={"n_layer": 1, "n_embd": 48, "n_head": 3, "vocab_size": 99})
    assert gpt2.rules["transformer.wte.weight"] == "library"
    assert gpt2.rules["transformer.h.0.attn.c_attn.weight"] == "statistics"


def test_weights_that_are_stored_in_columns_are_drawn_by_their_inputs() -> None:
    sizes = {"n_layer": 1, "n_embd": 96, "n_head": 3, "n_inner": 384, "vocab_size": 99}
    state = prepare("gpt2", init="statistics", overrides=sizes).state_dict()
    up, down = (state[f"transformer.h.0.mlp.{name}.weight"] for name in ("c_fc", "c_proj"))
    assert float(up.std()) * math.sqrt(96) == pytest.approx(1.0, abs=0.2)
    assert float(down.std()) * math.sqrt(384) == pytest.approx(1.2, abs=0.4)


class Gated(nn.Module):
    """A convolution network whose two branches have layer scales: one begins small, one closed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.first, self.second = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.small, self.closed = nn.Parameter(torch.full((8, 1, 1), 1e-6)), nn.Parameter(torch.zeros(8, 1, 1))
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        states = self.stem(images)
        states = states + self.small * self.first(states).relu()
        states = states + self.closed * self.second(states).relu()
        return self.head(states.mean((2, 3)))


def test_small_layer_scales_are_opened_and_closed_ones_stay_closed() -> None:
    prediction = paramgen.predict(Gated(), init="statistics", example_input=torch.zeros(2, 3, 32, 32))
    state = prediction.state_dict()
    assert 0.05 < float(state["small"].min()) == float(state["small"].max()) < 0.5
    assert prediction.rules["small"] == "statistics" and not state["closed"].any()


def test_a_table_of_ones_own_decides_what_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(json.dumps(TWO))
    init = f"statistics:{tmp_path / 'own.json'}"
    prediction = prepare("timm:vit_tiny_patch16_224", init=init, overrides=VIT)
    state = prediction.state_dict()
    library = prepare("timm:vit_tiny_patch16_224", init="library", overrides=VIT).state_dict()
    packed, default = state["blocks.0.attn.qkv.weight"], library["blocks.0.attn.qkv.weight"]
    assert float(packed[:192].std()) * math.sqrt(192) == pytest.approx(2.0, rel=0.05)
    assert torch.equal(packed[192:], default[192:]), "keys and values are not in the table"
    assert float(state["pos_embed"].std()) == pytest.approx(0.5, rel=0.1)
    assert torch.equal(state["blocks.0.mlp.fc1.weight"], library["blocks.0.mlp.fc1.weight"])


def test_packed_weights_build_on_the_library_where_a_role_of_theirs_is_unknown(tmp_path: Path) -> None:
    prediction = prepare("timm:vit_tiny_patch16_224", init="library", overrides=VIT)
    packed = {f"blocks.{block}.attn.qkv.weight" for block in range(3)}
    assert initializer_of("statistics").builds_on(prediction.architecture, prediction.graph) == frozenset()
    for known in ({"query": [2.0]}, {"value": [2.0]}, {"query": [2.0], "key": [2.0]}):
        table = tmp_path / "table.json"
        table.write_text(json.dumps({**TWO, "std": {**known, "position": [0.5]}}), encoding="utf-8")
        own = initializer_of(f"statistics:{table}")
        assert own.builds_on(prediction.architecture, prediction.graph) == packed


def test_the_record_names_the_table(tmp_path: Path) -> None:
    described = initializer_of("statistics").describe()
    assert described["statistics"] == "paramgen/statistics" and len(described["sha256"]) == 64
    provenance = initializer_of("statistics").provenance()
    assert provenance["from"] == "paramgen/statistics" and provenance["datasets"]
    (tmp_path / "own.json").write_text(json.dumps(TWO))
    assert initializer_of(f"statistics:{tmp_path / 'own.json'}").describe()["statistics"] == str(tmp_path / "own.json")


def test_what_is_no_table_is_refused_in_a_line(tmp_path: Path, command: "Command") -> None:
    (tmp_path / "other.json").write_text('{"kind": "supernet"}')
    done = command("predict", "--arch", "timm:test_vit", "--init", "statistics:other.json", "--out", "start")
    assert "other.json is no table of statistics" in done.refusal and not (tmp_path / "start").exists()
