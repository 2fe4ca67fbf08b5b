"""A network that was built before stays unbuilt where that is allowed, and its prediction is the same."""

import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from paramgen.api.unbuilt import unbuilt_first
from paramgen.architectures import Architecture, resolve
from paramgen.errors import MissingPackageError
from paramgen.graphs import known_networks
from paramgen.graphs.cache import CACHE_VARIABLE
from paramgen.graphs.known_networks import named_network
from paramgen.graphs.unbuilt import NetworkNeeded, unbuilt_networks
from paramgen.prediction import prepare

SMALL = "timm:vit_tiny_patch16_224?depth=1&embed_dim=24"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep a network, and return the names of those that are built from then on."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    names: list[str] = []

    def noted(arch: str, *given: object, **options: object) -> Architecture:
        names.append(arch)
        return resolve(arch, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(known_networks, "resolve", noted)
    with unbuilt_networks():
        named_network(SMALL)
    names.clear()
    return names


def test_its_prediction_is_the_same(built: list[str]) -> None:
    with unbuilt_networks():
        kept = prepare(SMALL, seed=3)
    assert not built
    whole = prepare(SMALL, seed=3)
    assert built == [SMALL]
    assert kept.choice == whole.choice and kept.rules == whole.rules and kept.remarks == whole.remarks
    assert kept.architecture.layout == whole.architecture.layout
    assert kept.architecture.pixel_std == whole.architecture.pixel_std
    assert (kept.graph.nodes, kept.graph.traced_by) == (whole.graph.nodes, whole.graph.traced_by)
    pairs = zip(kept, whole, strict=True)
    assert all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)


def test_what_looks_at_the_network_has_it_built(built: list[str]) -> None:
    with unbuilt_networks():
        known, _ = named_network(SMALL)
        assert known.module is not None and known.example is not None
        arguments, keywords = known.example
        looks = (lambda: known.module.parameters(), lambda: [*arguments], lambda: dict(keywords))
        for look in looks:
            with pytest.raises(NetworkNeeded):
                look()
    assert not built
    tensors = unbuilt_first(lambda: dict(prepare(SMALL, init="lsuv")))
    assert built == [SMALL] and len(tensors) > 10


def test_other_values_and_what_was_changed_are_other_networks(built: list[str], tmp_path: Path) -> None:
    with unbuilt_networks():
        named_network(SMALL, {"num_classes": 3})
        assert built == [SMALL]
        for file in tmp_path.iterdir():
            file.write_text(file.read_text().replace('"paramgen_graph":', '"paramgen_graff":'))
        assert named_network(SMALL)[0].manifest.keys()
    assert built == [SMALL, SMALL]


def test_nothing_is_kept_of_a_file_or_where_that_is_not_allowed(built: list[str], tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    named_network(f"{SMALL}&num_classes=4")
    assert len(set(tmp_path.iterdir()) - before) == 1  # its graph
    with unbuilt_networks():
        for name in ("transformers:config.json", "timm:../x", "org/model", "my.py:build", "unknown:name"):
            assert known_networks._file_of(name, {}) is None
        assert known_networks._file_of(SMALL, {"a": object()}) is None


def test_a_library_that_is_not_installed_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("paramgen.graphs.cache.version", version)
    monkeypatch.setitem(sys.modules, "timm", None)
    with unbuilt_networks(), pytest.raises(MissingPackageError, match=r"\[timm\]"):
        named_network(SMALL)
