"""Graphs are kept and found again; what is wrong in the cache is as if it were not there."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from paramgen.architectures import Architecture, resolve
from paramgen.graphs import cache
from paramgen.graphs.cache import cached_graph
from paramgen.graphs.graph_json import graph_hash
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import Tracing, graph_of

SMALL = "timm:vit_tiny_patch16_224?depth=1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.CACHE_VARIABLE, str(tmp_path / "graphs"))
    return tmp_path / "graphs"


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is traced from now on."""
    names: list[str] = []
    trace: Callable[[Architecture, Tracing], Graph] = graph_of

    def noted(architecture: Architecture, tracing: Tracing) -> Graph:
        names.append(architecture.spec)
        return trace(architecture, tracing)

    monkeypatch.setattr(cache, "graph_of", noted)
    return names


@pytest.fixture(scope="module")
def architecture() -> Architecture:
    return resolve(SMALL)


def test_a_graph_is_traced_once(folder: Path, traced: list[str], architecture: Architecture) -> None:
    first, again = cached_graph(architecture), cached_graph(resolve(SMALL))
    assert traced == [SMALL]
    assert (first.nodes, first.traced_by, first.failures) == (again.nodes, again.traced_by, again.failures)
    assert graph_hash(first) == graph_hash(again)
    assert first.edges.dtype == again.edges.dtype and [file.suffix for file in folder.iterdir()] == [".json"]


def test_another_configuration_or_attribute_is_another_graph(
    folder: Path, traced: list[str], architecture: Architecture
) -> None:
    cached_graph(architecture)
    cached_graph(resolve("timm:vit_tiny_patch16_224?depth=1&img_size=32"))
    explicit = resolve(SMALL)
    attention = explicit.module.blocks[0].attn  # type: ignore[union-attr,index]
    attention.fused_attn = not attention.fused_attn
    cached_graph(explicit)
    assert len(traced) == len(list(folder.iterdir())) == 3


def test_what_a_launcher_tells_its_workers_changes_no_graph(
    folder: Path, traced: list[str], architecture: Architecture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_graph(architecture)
    for name, value in {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "7f",
        "TORCHELASTIC_ERROR_FILE": "/tmp/attempt_0/1/error.json",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_HOME": "/models",
    }.items():
        monkeypatch.setenv(name, value)
        cached_graph(architecture)
    assert len(traced) == 1
    monkeypatch.setenv("TIMM_FUSED_ATTN", "0")  # by which timm chooses how attention is computed
    cached_graph(architecture)
    assert len(traced) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xff\xfe",
        b"[1]",
        b"{}",
        b'{"paramgen_structure":1,"traced_by":"fake tensors","nodes":[],"edges":[]}',
        b'{"paramgen_structure":2}',
        b'{"paramgen_structure":1,"edges":[],"traced_by":"","nodes":[{"op":"sum","name":"","slot":"none","shape":[1]}]}',
        b"[" * 100_000,
    ],
    ids=range(8),
)
def test_what_is_corrupt_is_written_again(
    folder: Path, traced: list[str], architecture: Architecture, wrong: bytes
) -> None:
    wanted = graph_hash(cached_graph(architecture))
    (file,) = folder.iterdir()
    right = file.read_bytes()
    file.write_bytes(wrong)
    assert graph_hash(cached_graph(architecture)) == wanted
    assert len(traced) == 2 and file.read_bytes() == right


def test_a_graph_of_another_network_does_not_pass(folder: Path, traced: list[str], architecture: Architecture) -> None:
    cached_graph(architecture)
    (file,) = folder.iterdir()
    content = json.loads(file.read_text())
    node = next(node for node in content["nodes"] if node["slot"] is not None)
    node["shape"] = [2, *node["shape"][1:]]
    file.write_text(json.dumps(content))
    cached_graph(architecture)
    assert len(traced) == 2


def test_writers_do_not_meet(folder: Path, architecture: Architecture) -> None:
    file = folder / "one.json"
    texts = [json.dumps([number] * 20_000) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda text: cache.keep_text(file, text), texts * 5))
    assert file.read_text() in texts and os.listdir(folder) == ["one.json"]


def test_only_so_many_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_CACHED_GRAPHS", 3)
    names = [f"{number:064x}.json" for number in range(5)]
    for number, name in enumerate(names):
        cache.keep_text(folder / name, "{}")
        os.utime(folder / name, (number, number))
    assert sorted(os.listdir(folder)) == names[2:]
    monkeypatch.setattr(cache, "MAX_CACHED_BYTES", 1)
    cache.keep_text(folder / "large.json", "{}")
    assert not (folder / "large.json").exists()


def test_what_is_somebodys_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_CACHED_GRAPHS", 2)
    folder.mkdir(parents=True, exist_ok=True)
    mine = [f"thesis{number}.json" for number in range(9)]
    for name in mine:
        (folder / name).write_text("precious")
        os.utime(folder / name, (0, 0))
    for number in range(5):
        cache.keep_text(folder / f"{number:064x}.json", "{}")
    assert set(mine) < set(os.listdir(folder)) and len(os.listdir(folder)) == len(mine) + 2


def test_a_pipe_in_the_cache_is_not_waited_for(folder: Path, traced: list[str], architecture: Architecture) -> None:
    file = cache._file_of(architecture)
    assert file is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(file)
    cache.cached_graph(architecture)
    assert len(traced) == 1


def test_without_a_place_everything_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: list[str], architecture: Architecture
) -> None:
    (tmp_path / "file").write_text("")
    for place in ("off", str(tmp_path / "file" / "graphs")):
        monkeypatch.setenv(cache.CACHE_VARIABLE, place)
        cached_graph(architecture)
    assert len(traced) == 2 and [file.name for file in tmp_path.iterdir()] == ["file"]


def test_own_modules_are_not_kept(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("from torch import nn\ndef build(): return nn.Sequential(nn.Linear(3, 2))\n")
    assert cached_graph(resolve(f"{file}:build", None, ((torch.zeros(1, 3),), {}))).ordered
    assert not folder.exists()
