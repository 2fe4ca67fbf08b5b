"""What `paramgen.check` must find in a folder, whoever wrote it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import paramgen
from paramgen.output.stream import statistics_of
from paramgen.output.verify import REAL_LIMIT, parameter_norm

if TYPE_CHECKING:
    from conftest import Command

WEIGHTS, REPORT, CONFIG = "model.safetensors", "paramgen.json", "config.json"
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of a library that reads it itself, and the same in shards."""
    root = tmp_path_factory.mktemp("originals")
    arch = "transformers:gpt2?n_embd=32&n_layer=1&n_head=2&vocab_size=64&n_positions=16"
    paramgen.write(arch, root / "whole", init="library")
    paramgen.write(arch, root / "shards", init="library", max_shard="20KB")
    return root


@pytest.fixture(params=["auto", "meta"])
def memory(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def folder(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals / "whole", tmp_path / "folder")


@pytest.fixture
def shards(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals / "shards", tmp_path / "shards")


def rewrite(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refused(folder: Path, memory: Any = "auto") -> str:
    with pytest.raises(paramgen.ParamgenError) as caught:
        paramgen.check(folder, memory=memory)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600
    return message


NAME = "transformer.h.0.mlp.c_fc.weight"


def test_a_good_folder(folder: Path, shards: Path, memory: Any) -> None:
    done = paramgen.check(folder, memory=memory)
    assert done.loaded_by == "transformers" and done.tensors == len(load_file(folder / WEIGHTS))
    assert done.memory == ("real" if memory == "auto" else "meta") and done.published is None
    assert paramgen.check(shards, memory=memory).tensors == done.tensors
    for path in (folder, shards):
        (path / REPORT).unlink()  # as if somebody else had written it
        assert paramgen.check(path, memory=memory).loaded_by == "transformers"


def nan(tensors: Tensors) -> None:
    tensors[NAME][3, 3] = torch.nan


def infinite(tensors: Tensors) -> None:
    tensors[NAME][3, 3] = -torch.inf


def flip(tensors: Tensors) -> None:
    tensors[NAME].view(torch.int32)[3, 3] ^= 1


CHANGES: list[tuple[Callable[[Tensors], object], bool]] = [
    (lambda tensors: tensors.pop(NAME), False),
    (lambda tensors: tensors.update(extra=torch.ones(3)), False),
    (lambda tensors: tensors.update({NAME: torch.ones(128, 31)}), False),
    (lambda tensors: tensors.update({NAME: tensors[NAME].t().contiguous()}), False),
    (nan, False),
    (infinite, False),
    (flip, True),
    (lambda tensors: tensors.update({NAME: tensors[NAME].double()}), True),
]


@pytest.mark.parametrize(("change", "record_only"), CHANGES)
def test_a_changed_tensor(folder: Path, memory: Any, change: Callable[[Tensors], object], record_only: bool) -> None:
    rewrite(folder, change)
    message = refused(folder, memory)
    assert "extra" in message or NAME in message
    if not record_only:  # what a library's folder without our record shows just as well
        (folder / REPORT).unlink()
        message = refused(folder, memory)
        assert "extra" in message or NAME in message


def test_a_record_that_was_changed_along_is_believed_only_if_finite(folder: Path) -> None:
    rewrite(folder, nan)
    record = json.loads((folder / REPORT).read_text())
    digest = statistics_of(load_file(folder / WEIGHTS)[NAME]).to_json()["sha256"]
    record["tensors"][NAME] |= {"sha256": digest, "mean": None}
    (folder / REPORT).write_text(json.dumps(record))
    assert "not a number" in refused(folder)


def test_a_truncated_file(folder: Path, memory: Any) -> None:
    os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)
    assert "not a whole safetensors file" in refused(folder, memory) or "cannot load" in refused(folder, memory)
    os.truncate(folder / WEIGHTS, 0)
    refused(folder, memory)


def test_a_lost_shard(shards: Path, memory: Any) -> None:
    lost = sorted(shards.glob("model-*.safetensors"))[0]
    lost.unlink()
    assert lost.name in refused(shards, memory)


@pytest.mark.parametrize(
    ("key", "value"), [("n_embd", 64), ("n_layer", 2), ("n_layer", 0), ("architectures", ["GPT2Model"])]
)
def test_a_config_that_does_not_fit(folder: Path, memory: Any, key: str, value: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {key: value}))
    refused(folder, memory)


def test_two_sets_of_weights(folder: Path, shards: Path) -> None:
    for path in shards.glob("model*"):
        shutil.copy(path, folder)
    assert "not clear" in refused(folder)


HOSTILE: list[tuple[str, str]] = [
    (CONFIG, ""),
    (CONFIG, "[]"),
    (CONFIG, "[" * 100_000),
    (CONFIG, '{"model_type": "../../etc"}'),
    (CONFIG, '{"model_type": "gpt2", "architectures": ["os.system"]}'),
    (CONFIG, '{"_class_name": "../x"}'),
    (CONFIG, '{"library": "torchvision", "architecture": "nothing"}'),
    (REPORT, "{"),
    (REPORT, "[1]"),
    (REPORT, "[" * 100_000),
    (REPORT, '{"tensors": 3}'),
    (REPORT, '{"source": "../x", "tensors": {}}'),
    (REPORT, '{"source": ["transformers"], "tensors": {"a": 1}}'),
    (f"{WEIGHTS}.index.json", '{"weight_map": {"a": "../../../etc/passwd"}}'),
    (f"{WEIGHTS}.index.json", '{"weight_map": {"a": "/etc/x.safetensors"}}'),
    (f"{WEIGHTS}.index.json", '{"weight_map": 3}'),
    (f"{WEIGHTS}.index.json", '{"weight_map": {"a": 3}}'),
    (f"{WEIGHTS}.index.json", "[" * 100_000),
    (f"{WEIGHTS}.index.json", "null"),
]


@pytest.mark.parametrize(("name", "content"), HOSTILE, ids=[f"{name} {text[:40]}" for name, text in HOSTILE])
def test_a_hostile_folder(folder: Path, name: str, content: str) -> None:
    if name == CONFIG:
        (folder / REPORT).unlink()
    if name.endswith("index.json"):
        (folder / WEIGHTS).unlink()
    (folder / name).write_text(content)
    refused(folder)


@pytest.mark.parametrize("given", [None, 0, 2, "1", True, [1]])
def test_a_record_of_another_version_is_refused(folder: Path, given: object) -> None:
    record = json.loads((folder / REPORT).read_text())
    assert record["format_version"] == 1
    (folder / REPORT).write_text(json.dumps(record | {"format_version": given}))
    assert "this version of paramgen reads 1" in refused(folder)


def test_a_huge_index_is_not_read(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with (folder / f"{WEIGHTS}.index.json").open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no space
    assert "allowed are 100,000,000" in refused(folder)


def test_a_folder_of_somebody_elses_module_runs_nothing(tmp_path: Path, own: Path) -> None:
    ran = tmp_path / "ran"
    paramgen.write(f"{own}:build", tmp_path / "out", init="library")
    config = json.loads((tmp_path / "out" / CONFIG).read_text())
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(ran)!r}, 'w')\n")
    (tmp_path / "out" / CONFIG).write_text(json.dumps(config | {"architecture": f"{evil}:build"}))
    assert paramgen.check(tmp_path / "out").loaded_by is None
    with pytest.raises(paramgen.ParamgenError, match="no code is run"):
        paramgen.load(tmp_path / "out")
    assert not ran.exists()


def test_an_infinity_that_the_library_means_is_no_fault(tmp_path: Path, own: Path) -> None:
    own.write_text(own.read_text().replace("def forward", "def unused") + "\nimport math\n" + MASKED)
    written = paramgen.write(f"{own}:masked", tmp_path / "out", init="library")
    assert written.checked is not None and written.checked.loaded_by == "module"


MASKED = """
class Masked(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.register_buffer("mask", torch.full((4, 4), -math.inf).triu(1))

def masked():
    return Masked()
"""


def test_exit_codes(command: "Command", own: Path, tmp_path: Path) -> None:
    assert command("predict", "--arch", "own.py:build", "--init", "library", "--out", "out", "-q").status == 0
    done = command("check", "out", "--json")
    assert json.loads(done.out) == {
        "folder": "out", "loaded_by": "module", "tensors": 9, "memory": "real", "ok": True
    }  # fmt: skip
    content = bytearray((tmp_path / "out" / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (tmp_path / "out" / WEIGHTS).write_bytes(content)
    assert "has changed since it was written" in command("check", "out").refusal
    assert command("check", "out", "--json").out == ""


def test_auto_is_meta_above_the_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (folder / WEIGHTS).stat().st_size < REAL_LIMIT
    monkeypatch.setattr("paramgen.output.verify.REAL_LIMIT", 1000)
    assert paramgen.check(folder).memory == "meta"
    assert paramgen.check(folder, memory="real").memory == "real"


def test_what_decides_by_small_values_is_checked_on_meta(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(*(nn.Linear(4, 4, bias=rate.item() > 0) for rate in torch.linspace(0, 1, 2)))\n"
    )
    for arch in ("torchvision:regnet_y_400mf", f"{tmp_path}/own.py:build"):
        paramgen.write(arch, tmp_path / "out", verify=False, overwrite=True)
        assert paramgen.check(tmp_path / "out", memory="meta").memory == "meta"


def test_what_was_checked_as_json(folder: Path) -> None:
    found = paramgen.check(folder)
    stored = load_file(folder / "model.safetensors")
    assert found.to_json() == {
        "folder": str(folder),
        "loaded_by": found.loaded_by,
        "tensors": len(stored),
        "memory": "real",
        "ok": True,
    }
    assert found.loaded_by in ("transformers", "timm")


def test_a_norm_is_that_of_the_parameters_alone(folder: Path) -> None:
    module = paramgen.load(folder)
    del module.transformer.wte  # type: ignore[union-attr]
    stored, names = load_file(folder / "model.safetensors"), dict(module.named_parameters())
    squares = sum(float(stored[name].double().square().sum()) for name in names if name in stored)
    assert 0 < len(names.keys() & stored.keys()) < len(stored)
    assert parameter_norm(folder, module) == pytest.approx(squares**0.5)
