import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

import paramgen
from paramgen.errors import ForeignError, OutputError, ParamgenError
from paramgen.graphs.views.view import SlotRequest, View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.decoders.low_rank import LowRankConfig
from paramgen.hypernets.decoders.low_rank_vectors import LowRankVectorsConfig
from paramgen.hypernets.encoders.gated_gnn import GatedGnnConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.normalization import AsDecoded, FanIn, InitializerRange
from paramgen.published.convert import PUBLISHED_FAMILIES, convert, load
from paramgen.published.origin import CONVERSION_RECORD
from paramgen.published.reader import read
from tests.support.published import hostile, published
from tests.support.published.published import (
    CLASSES,
    CONFIG,
    GHN1_CONFIG,
    GHN2_CONFIG,
    LARGEST,
    LOGAH_CONFIG,
    RANK,
    SIDE,
    WIDTH,
)

if TYPE_CHECKING:
    from conftest import Command

CONV = ConvConfig(max_out=LARGEST, max_in=LARGEST, kernel=SIDE, classes=CLASSES)
GRAPHORMER = GraphormerConfig(
    hidden=8, layers=2, heads=4, primitives=15, channels=(CLASSES,), spatial=SIDE, cutoff=50, final_norm=True
)
GATED = GatedGnnConfig(hidden=8, primitives=15, channels=(CLASSES,), spatial=SIDE, cutoff=50, final_norm=True)
LOW_RANK = LowRankConfig(rank=RANK, width=WIDTH, max_out=32, max_in=32, scaled=False)
LANGUAGE = replace(GRAPHORMER, primitives=18, channels=(CLASSES, 32000, 50257, 128256), cutoff=250)
VECTORS = LowRankVectorsConfig(rank=RANK, width=WIDTH, max_out=32, max_in=32, classes=CLASSES)


@dataclass
class Case:
    family: str
    state: dict[str, Tensor]
    config: dict[str, object] | None
    encoder: object
    decoder: object
    normalization: object = field(default_factory=lambda: FanIn(spare_tables=True))

    @property
    def data(self) -> bytes:
        return self.saved(self.state, self.config)

    def saved(self, state: dict[str, Tensor], config: dict[str, object] | None) -> bytes:
        if config is None:
            return hostile.dumped(state)
        return hostile.saved({"state_dict": state, "config": config, "epoch": 1, "step": 2})


def squeezed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.flatten(1) if value.dim() == 4 else value for key, value in state.items()}


def cases() -> dict[str, Case]:
    two, one = (published.drawn(published.ghn2(virtual=virtual)) for virtual in (True, False))
    vision, language, vectors = (
        published.drawn(published.logah(**kind))
        for kind in ({"language": False}, {"language": True}, {"language": False, "vectors": True})
    )
    ghn1 = replace(GATED, cutoff=1, final_norm=False)
    corner = replace(CONV, corner=True)
    initializer_range = InitializerRange(otherwise=0.02)
    hub, trained = (published.drawn(published.ghn3(pretrained=pretrained)) for pretrained in (True, False))
    return {
        "ghn3 on the Hub": Case("ghn3", hub, None, GRAPHORMER, CONV),
        "ghn3 trained": Case("ghn3", trained, CONFIG, GRAPHORMER, CONV),
        "ghn2 on the Hub": Case("ghn2", two, None, GATED, corner),
        "ghn2 trained": Case("ghn2", two, GHN2_CONFIG, GATED, corner),
        "ghn2 trained later": Case("ghn2", squeezed(two), GHN2_CONFIG | {"is_ghn2": True}, GATED, corner),
        "ghn1": Case("ghn2", one, GHN1_CONFIG, ghn1, corner, AsDecoded()),
        "logah for vision": Case("logah", vision, LOGAH_CONFIG, GRAPHORMER, LOW_RANK),
        "logah for language": Case("logah", language, LOGAH_CONFIG, LANGUAGE, LOW_RANK, initializer_range),
        "logah with vectors": Case("logah", vectors, LOGAH_CONFIG | {"use_1d_decoder": True}, GRAPHORMER, VECTORS),
    }


CASES = cases()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(data)
        return path

    return write


def view(*, class_layer: bool) -> View:
    requests = [
        SlotRequest("conv.weight", 1, "weight", (12, 3, 3, 5)),
        SlotRequest("norm.weight", 2, "scale", (12,)),
        SlotRequest("norm.bias", 2, "bias", (12,)),
        SlotRequest("pos", 3, "position", (1, 5, 12)),
        SlotRequest("head.weight", 4, "class_weight" if class_layer else "weight", (CLASSES, 12)),
        SlotRequest("head.bias", 5, "class_bias" if class_layer else "bias", (CLASSES,)),
    ]
    distances = torch.triu(torch.arange(6) - torch.arange(6)[:, None], diagonal=1).to(torch.uint8)
    shapes = (None, (12, 3, 3, 5), (12,), (1, 5, 12), (CLASSES, 12), (CLASSES,))
    return View(torch.tensor([9, 4, 11, 13, 4, 10]), shapes, distances, tuple(requests), "published")


@pytest.mark.parametrize("name", CASES)
def test_every_published_form_becomes_a_hypernet(name: str, put: Callable[[bytes], Path], tmp_path: Path) -> None:
    case = CASES[name]
    converted = convert(put(case.data), tmp_path / "out")
    hypernet = Hypernet.from_pretrained(tmp_path / "out")
    assert (converted.family, converted.config) == (case.family, hypernet.config)
    assert hypernet.config.encoder == case.encoder
    assert hypernet.config.decoder == case.decoder
    assert hypernet.config.normalization == case.normalization
    assert converted.parameters == sum(parameter.numel() for parameter in hypernet.parameters())
    predicted = dict(hypernet(view(class_layer=True)))
    assert {key: value.shape for key, value in predicted.items()} == {
        request.slot: request.shape for request in view(class_layer=True).requests
    }


@pytest.mark.parametrize("name", CASES)
def test_every_tensor_is_the_published_one(name: str, put: Callable[[bytes], Path]) -> None:
    case = CASES[name]
    loaded = load(read(put(case.data)))
    taken = {loaded.table.to_foreign(key): value for key, value in loaded.tensors.items()}
    assert taken.keys() | loaded.dropped.keys() == case.state.keys()
    assert not taken.keys() & loaded.dropped.keys()
    for key, value in taken.items():
        assert torch.equal(value, case.state[key].view(value.shape))


def test_all_families_are_tried() -> None:
    assert {case.family for case in CASES.values()} == {family.name for family in PUBLISHED_FAMILIES}


def test_the_record_says_where_a_hypernet_is_from(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    converted = convert(put(CASES["logah for language"].data), tmp_path / "out")
    record = json.loads((tmp_path / "out" / CONVERSION_RECORD).read_text())
    assert record["sha256"] == converted.sha256
    assert record["bytes"] == (tmp_path / "checkpoint.pt").stat().st_size
    assert (record["family"], record["attention"], record["cutoff"]) == ("logah", "softmax", 250)
    assert record["weight_norm"] is True
    assert record["settings"]["lora_r"] == RANK
    assert set(record["dropped"]) == {
        f"{module}.{leaf}"
        for module in ("decoder.l1", "decoder.l2", "decoder_1d.0", "bias_class.1")
        for leaf in ("weight", "bias")
    }
    assert converted.to_json()["sha256"] == converted.sha256
    assert converted.to_json()["config"]["encoder"]["kind"] == "graphormer"


def test_the_command_and_python_convert_alike(put: Callable[[bytes], Path], tmp_path: Path, command: "Command") -> None:
    file = put(CASES["ghn3 on the Hub"].data)
    converted = paramgen.convert(str(file), str(tmp_path / "here"))
    done = command("convert", file.name, "--out", "there", "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out) == {**converted.to_json(), "file": file.name, "folder": "there"}
    assert (tmp_path / "here" / CONVERSION_RECORD).read_bytes() == (tmp_path / "there" / CONVERSION_RECORD).read_bytes()


def test_half_precision_becomes_float32(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    state = {key: value.to(torch.bfloat16) for key, value in CASES["ghn3 on the Hub"].state.items()}
    convert(put(hostile.saved(state)), tmp_path / "out")
    hypernet = Hypernet.from_pretrained(tmp_path / "out")
    assert torch.equal(hypernet.encoder.primitive.weight, state["embed.weight"].float())


CONTRADICTIONS: dict[str, dict[str, object]] = {
    "ghn3 trained": {
        "hid": 16,
        "layers": 3,
        "heads": 8,
        "num_classes": 100,
        "layernorm": False,
        "is_ghn2": True,
        "lora": True,
        "pretrained": True,
        "max_shape": (8, 8, SIDE, SIDE),
    },
    "ghn2 trained": {"ve": False, "hid": 4, "layernorm": False, "hypernet": "mlp", "decoder": "mlp"},
    "logah for vision": {
        "lora_r": 4,
        "max_ck_lora": 32,
        "use_1d_decoder": True,
        "num_classes": 8,
        "max_shape": (32, 32, 16, 16),
        "lora": False,
    },
}


@pytest.mark.parametrize(("name", "key"), [(name, key) for name, keys in CONTRADICTIONS.items() for key in keys])
def test_a_config_against_the_shapes_is_refused(name: str, key: str, put: Callable[[bytes], Path]) -> None:
    case = CASES[name]
    assert case.config is not None
    path = put(case.saved(case.state, case.config | {key: CONTRADICTIONS[name][key]}))
    with pytest.raises(ForeignError, match=f"(?i)contradicts itself.*{key}|{key}.*its tensors say|decoder is 'mlp'"):
        load(read(path))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("act_layer", "gelu", "'act_layer', which no published hypernet has"),
        ("hid", "8", "hid = '8'; it must be of type int"),
        ("hid", True, "hid = True; it must be of type int"),
        ("ve", 1, "ve = 1; it must be of type bool"),
        ("max_shape", 64, "max_shape is not four whole numbers"),
        ("max_shape", (6, 6, 11), "max_shape is not four whole numbers"),
        ("max_shape", (6, 6, -1, -1), "contradicts itself"),
    ],
)
def test_a_config_that_is_none_is_refused(key: str, value: object, message: str, put: Callable[[bytes], Path]) -> None:
    case = CASES["ghn3 trained"]
    with pytest.raises(ForeignError, match=message):
        load(read(put(hostile.saved({"state_dict": case.state, "config": CONFIG | {key: value}}))))


@pytest.mark.parametrize("name", ["ghn2 on the Hub", "logah for language"])
def test_every_missing_tensor_is_noticed(name: str, put: Callable[[bytes], Path]) -> None:
    case = CASES[name]
    dropped = load(read(put(case.data))).dropped
    for key in sorted(case.state.keys() - dropped.keys())[::6]:  # a sample: each takes a while
        state = {other: value for other, value in case.state.items() if other != key}
        with pytest.raises(ForeignError):
            load(read(put(case.saved(state, case.config))))


def test_a_missing_tensor_is_named(put: Callable[[bytes], Path]) -> None:
    state = {key: value for key, value in CASES["ghn3 on the Hub"].state.items() if key != "gnn.1.ln2.bias"}
    with pytest.raises(ForeignError, match="lacks 1 tensors that its config asks for, first 'gnn.1.ln2.bias'"):
        load(read(put(hostile.dumped(state))))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("gnn.7.ln1.weight", "contradicts itself|does not ask for"),
        ("centrality_embed_in.bias", "does not ask for"),
        ("gnn.0.centrality_embed_in.weight", "its family does not know"),
        ("extra.weight", "'extra.weight', which its family does not know"),
    ],
)
def test_extra_tensors_are_refused(key: str, message: str, put: Callable[[bytes], Path]) -> None:
    case = CASES["ghn3 on the Hub"]
    with pytest.raises(ForeignError, match=message):
        load(read(put(case.saved({**case.state, key: torch.zeros(8)}, None))))


def test_a_wrong_shape_names_both(put: Callable[[bytes], Path]) -> None:
    case = CASES["ghn3 on the Hub"]
    state = {**case.state, "gnn.1.ln2.bias": torch.zeros(9)}
    with pytest.raises(ForeignError, match=r"gnn.1.ln2.bias is of shape \(9,\), its config asks for \(8,\)"):
        load(read(put(hostile.dumped(state))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.zeros(2)}, "of no known family. Known: ghn2, ghn3, logah"),
        ({"gnn.fc.0.weight": torch.zeros(2, 2)}, "of no known family"),
        ({}, "a checkpoint is a dictionary of tensors"),
        ([torch.zeros(2)], "holds a list; a checkpoint is a dictionary"),
        (torch.zeros(2), "a checkpoint is a dictionary"),
        ({"a": 3}, "holds 3 as 'a'"),
        ({"state_dict": {"a": torch.zeros(2)}, "config": [1]}, "it must be a dictionary"),
        ({"state_dict": None}, "holds None"),
    ],
)
def test_what_is_no_known_checkpoint_is_refused(content: object, message: str, put: Callable[[bytes], Path]) -> None:
    with pytest.raises(ForeignError, match=message):
        load(read(put(hostile.saved(content))))


def test_values_that_are_no_weights_are_refused(put: Callable[[bytes], Path]) -> None:
    case = CASES["ghn3 on the Hub"]
    for value, message in ((torch.full((15, 8), torch.nan), "not finite"), (torch.ones(15, 8).long(), "torch.int64")):
        with pytest.raises(ForeignError, match=message):
            load(read(put(hostile.saved({**case.state, "embed.weight": value}))))


def test_a_copy_that_differs_is_refused(put: Callable[[bytes], Path]) -> None:
    case = CASES["logah for vision"]
    state = {**case.state, "decoder.l2.weight": case.state["decoder.l2.weight"] + 1}
    with pytest.raises(ForeignError, match="decoder.l2.weight is not the same tensor as in decoder.seq.1"):
        load(read(put(case.saved(state, case.config))))


def test_a_small_file_cannot_become_a_large_hypernet(put: Callable[[bytes], Path]) -> None:
    row = torch.ones(40_000)
    state = {key: row[: value.numel()].view(value.shape) for key, value in CASES["ghn3 on the Hub"].state.items()}
    with pytest.raises(ForeignError, match="bytes, but tensors of"):
        load(read(put(hostile.saved(state))))


def test_sizes_beyond_the_limits_are_refused(put: Callable[[bytes], Path]) -> None:
    case = CASES["logah for vision"]
    config = LOGAH_CONFIG | {"max_shape": (1 << 40, 32, SIDE, SIDE)}
    with pytest.raises(ParamgenError, match="decoder.max_out"):
        load(read(put(case.saved(case.state, config))))


def test_logah_without_a_config_is_not_guessed(put: Callable[[bytes], Path]) -> None:
    with pytest.raises(ForeignError, match="max_shape cannot be read off"):
        load(read(put(hostile.dumped(CASES["logah for vision"].state))))


def test_a_failed_or_refused_conversion_writes_nothing(
    put: Callable[[bytes], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(CASES["ghn3 on the Hub"].data)

    def broken(self: Hypernet, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Hypernet, "_save_pretrained", broken)
        convert(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").touch()
    with pytest.raises(OutputError, match="not empty"):
        convert(path, taken)
    assert list(taken.iterdir()) == [taken / "mine"]


def test_overwrite_replaces_what_was_converted_and_nothing_else(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(put(CASES["ghn3 on the Hub"].data), out)
    (out / "left.txt").touch()
    path = put(CASES["ghn2 on the Hub"].data)
    with pytest.raises(OutputError, match="not empty.*overwrite=True"):
        convert(path, out)
    with pytest.raises(OutputError, match="'left.txt'.*overwrite=True would lose that"):
        convert(path, out, overwrite=True)
    (out / "left.txt").unlink()
    assert convert(path, out, overwrite=True).family == "ghn2"
    assert json.loads((out / CONVERSION_RECORD).read_text())["family"] == "ghn2"
    path = put(b"\x80\x02N.")
    with pytest.raises(ForeignError):
        convert(path, out, overwrite=True)
    assert json.loads((out / CONVERSION_RECORD).read_text())["family"] == "ghn2"
    (out / CONVERSION_RECORD).rename(out / "paramgen.json")  # as if predict had written it
    with pytest.raises(OutputError, match=f"not converted by paramgen: it has no {CONVERSION_RECORD}"):
        convert(put(CASES["ghn3 on the Hub"].data), out, overwrite=True)
    assert (out / "paramgen.json").exists()


def test_overwrite_keeps_the_file_that_is_converted(put: Callable[[bytes], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(put(CASES["ghn3 on the Hub"].data), out)
    inside = put(CASES["ghn3 on the Hub"].data).rename(out / "checkpoint.pt")
    with pytest.raises(OutputError, match="'checkpoint.pt'.*overwrite=True would lose that"):
        convert(inside, out, overwrite=True)
    assert inside.exists()


def test_configs_of_converted_hypernets_go_through_json(put: Callable[[bytes], Path]) -> None:
    for case in CASES.values():
        config = load(read(put(case.data))).config
        assert HypernetConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
