"""Which published file made a prediction, and whether the prediction is the published one."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import paramgen
from paramgen.errors import CheckError, ForeignError
from paramgen.output.verify import parameter_norm
from paramgen.published import published as module
from paramgen.published.convert import convert
from paramgen.published.origin import Origin
from paramgen.published.published import Catalog, PublishedFile, compare, identify
from tests.support.published import hostile, published

if TYPE_CHECKING:
    from conftest import Command

ARCH, SHA256 = "squeezenet1_1", "5" * 64
ORIGIN = Origin(family="ghn3", file="x.pt", bytes=1, sha256="0" * 64, parameters=500)
BIG = PublishedFile(repo="org/repo", file="big.pt", family="ghn3", parameters=900, norms={ARCH: 70.0})
SMALL = PublishedFile(repo="org/repo", file="small.pt", family="ghn3", parameters=500, norms={ARCH: 50.0})
OLDER = PublishedFile(repo="org/repo", file="other/older.pt", family="ghn3", sha256=SHA256, parameters=500)
GATED = PublishedFile(repo="org/repo", file="gated.pt", family="ghn2", norms={ARCH: 30.0})
KNOWN = (OLDER, BIG, SMALL, GATED)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "catalog", lambda: Catalog(files=KNOWN, tolerance=0.01))


@pytest.mark.parametrize(
    ("origin", "entry", "by", "sure"),
    [
        (replace(ORIGIN, sha256=SHA256), OLDER, "sha256", True),
        (replace(ORIGIN, sha256=SHA256, family="ghn2", file="gated.pt"), OLDER, "sha256", True),
        (replace(ORIGIN, repo="org/repo", file="small.pt"), SMALL, "repository and name", True),
        (replace(ORIGIN, repo="org/repo", file="gated.pt", family="ghn2"), GATED, "repository and name", True),
        (replace(ORIGIN, repo="org/repo", file="big.pt"), SMALL, "family and size", False),  # has another size
        (replace(ORIGIN, repo="me/copy", file="small.pt"), SMALL, "family and size", False),
        (replace(ORIGIN, file="small.pt"), SMALL, "name and size", True),
        (replace(ORIGIN, file="older.pt"), SMALL, "family and size", False),  # the file is known to have another sha256
        (replace(ORIGIN, file="gated.pt", family="ghn2"), GATED, "its family", False),
        (ORIGIN, SMALL, "family and size", False),
    ],
)
def test_a_file_is_told(origin: Origin, entry: PublishedFile, by: str, sure: bool) -> None:
    found = identify(origin)
    assert found is not None
    assert (found.entry, found.sure) == (entry, sure) and found.by.endswith(by)


@pytest.mark.parametrize("origin", [replace(ORIGIN, parameters=501), replace(ORIGIN, family="logah")])
def test_a_file_like_no_other(origin: Origin) -> None:
    assert identify(origin) is None


def record(origin: Origin, **changed: Any) -> dict[str, Any]:
    described = {"hypernet": "folder", "softmax": changed.pop("softmax", "explicit"), "published": origin.to_json()}
    return {"spec": f"torchvision:{ARCH}", "dtype": None, "initializer": described} | changed


NAMED = replace(ORIGIN, file="small.pt")


@pytest.mark.parametrize(
    ("origin", "norm", "verdict"),
    [
        (NAMED, 50.0099, "the same"),
        (NAMED, 49.9901, "the same"),
        (NAMED, 50.0101, "differs"),
        (NAMED, 49.9899, "differs"),
        (NAMED, float("nan"), "differs"),
        (ORIGIN, 50.0, "the same"),
        (ORIGIN, 51.0, "unknown"),  # somebody's own hypernet of that size is no fault
    ],
)
def test_the_verdict(origin: Origin, norm: float, verdict: str) -> None:
    found = compare(record(origin), lambda: norm)
    assert found is not None
    assert (found.file, found.architecture, found.published, found.verdict) == ("small.pt", ARCH, 50.0, verdict)
    assert f"small.pt on {ARCH}, parameter norm {norm:.4f} (published 50.0000): " in str(found)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (record(NAMED, spec="timm:resnet18"), "no norm is published for timm:resnet18"),
        (record(NAMED, spec=f"torchvision:{ARCH}?num_classes=3"), "no norm is published for"),
        (record(NAMED, softmax="fused"), "explicit softmax"),
        (record(NAMED, dtype="bfloat16"), "float32, not of bfloat16"),
        (record(replace(ORIGIN, sha256=SHA256)), "no norms of its predictions are published"),
        (record(replace(ORIGIN, family="logah")), "no published file is known"),
    ],
)
def test_what_cannot_be_compared(changed: dict[str, Any], said: str) -> None:
    found = compare(changed, lambda: pytest.fail("computed for nothing"))
    assert found is not None and found.verdict == "unknown" and found.norm is None
    assert said in str(found) and "not compared" in str(found)


def test_other_predictions_are_not_compared() -> None:
    others: tuple[dict[str, Any], ...] = (
        {},
        {"initializer": {}},
        {"initializer": 3},
        {"initializer": {"hypernet": "paramgen/x"}},
    )
    for other in others:
        assert compare(other, lambda: 0.0) is None


@pytest.mark.parametrize("content", [3, {}, {"family": "ghn3", "file": "x", "bytes": True, "sha256": ""}])
def test_a_hostile_record_of_a_published_file(content: object) -> None:
    with pytest.raises(ForeignError):
        compare({"initializer": {"published": content}}, lambda: 0.0)


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prediction with a converted file."""
    folder = tmp_path_factory.mktemp("predicted")
    (folder / "small.pt").write_bytes(hostile.dumped(published.drawn(published.ghn3(pretrained=True))))
    convert(folder / "small.pt", folder / "hypernet")
    paramgen.write(f"torchvision:{ARCH}", folder / "out", init=f"hypernet:{folder / 'hypernet'}")
    return folder / "out"


def norm_of(folder: Path) -> float:
    """The norm by another way; this network has no buffers."""
    tensors = load_file(folder / "model.safetensors").values()
    return float(torch.cat([tensor.double().flatten() for tensor in tensors]).norm())


@pytest.fixture
def catalogued(predicted: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], float]:
    """Make the file a published one whose norm is off by so much; return the norm."""
    origin = Origin.from_json(json.loads((predicted / "paramgen.json").read_text())["initializer"]["published"])
    norm = norm_of(predicted)

    def put(off: float) -> float:
        entry = PublishedFile(file="small.pt", family="ghn3", sha256=origin.sha256, norms={ARCH: round(norm, 4) + off})
        monkeypatch.setattr(module, "catalog", lambda: Catalog(files=(entry,), tolerance=0.01))
        return norm

    return put


@pytest.mark.parametrize("memory", ["real", "meta"])
def test_a_folder_that_holds_the_published_prediction(
    predicted: Path, catalogued: Callable[[float], float], memory: Any
) -> None:
    norm = catalogued(0.005)
    found = paramgen.check(predicted, memory=memory).published
    assert found is not None and found.verdict == "the same"
    assert found.norm == round(norm, 4) and found.identified_by == "its sha256"


def test_the_norm_is_of_parameters_alone(tmp_path: Path) -> None:
    module = nn.BatchNorm1d(3)
    state = {"weight": torch.tensor([3.0, 0, 0]), "bias": torch.tensor([0, 4.0, 0]), "running_mean": torch.ones(3)}
    save_file(module.state_dict() | state, tmp_path / "model.safetensors")
    assert parameter_norm(tmp_path, module) == 5.0


def test_a_folder_that_does_not(predicted: Path, catalogued: Callable[[float], float]) -> None:
    norm = catalogued(0.02)
    with pytest.raises(CheckError) as caught:
        paramgen.check(predicted)
    message = str(caught.value)
    assert f"{norm:.4f} (published {round(norm, 4) + 0.02:.4f})" in message and "\n" not in message
    assert f"call: paramgen.write('torchvision:{ARCH}', 'NEW', init='hypernet:small.pt')" in message


def test_the_command_says_so(predicted: Path, tmp_path: Path, command: "Command") -> None:
    shutil.copytree(predicted, tmp_path / "out")
    sha256 = json.loads((predicted / "paramgen.json").read_text())["initializer"]["published"]["sha256"]
    norm = norm_of(predicted)
    patch = "from paramgen.published import published as p; c = p.Catalog(tolerance=0.01, files=(p.PublishedFile("
    patch += f"file='s.pt', family='ghn3', sha256={sha256!r}, norms={{{ARCH!r}: {{}}}}),)); p.catalog = lambda: c"
    done = command("check", "out", code=patch.replace("{}", f"{norm:.4f}"))
    (line,) = (line for line in done.out.splitlines() if line.startswith("published"))
    assert f"s.pt on {ARCH}, parameter norm {norm:.4f} (published {norm:.4f}): the same" in line and done.status == 0
    found = json.loads(command("check", "out", "--json", code=patch.replace("{}", f"{norm:.4f}")).out)
    assert found["published"]["verdict"] == "the same" and found["ok"]
    assert "differs" in command("check", "out", code=patch.replace("{}", "1.0")).refusal
