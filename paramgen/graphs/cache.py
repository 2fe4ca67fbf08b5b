"""Graphs that were traced before, kept in the user's cache directory.

A graph is found by everything that it depends on: the network's name and configuration, its modules and their plain
attributes, its slots, its example input, the versions of its library and of torch, and the code here that traces. What
is read is checked as hostile; what cannot be read or written is traced as if there were no cache. Networks of a user's
own are not kept, as their code may change, and neither is a graph that the first tracing backend did not give.

`PARAMGEN_GRAPH_CACHE` is another folder, or `off`.
"""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from json import dumps
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from paramgen.architectures import Architecture
from paramgen.architectures.transformers_internals import chosen_by
from paramgen.errors import GraphError, OutputError
from paramgen.graphs.graph_json import structure_from_json, structure_to_json
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.backends import TRACING_BACKENDS
from paramgen.graphs.tracing.fallbacks import STRICT, Tracing, graph_of
from paramgen.storage.folder import write_text

CACHE_VARIABLE: Final = "PARAMGEN_GRAPH_CACHE"
OFF: Final = "off"
MAX_CACHED_GRAPHS: Final = 500
MAX_CACHED_BYTES: Final = 8_000_000  # of one graph
LIBRARIES: Final = ("timm", "torchvision", "transformers", "diffusers")
_OURS: Final = re.compile(r"[0-9a-f]{64}\.json")
_PLAIN: Final = (bool, int, float, str, type(None))
_ENVIRONMENT: Final = ("TIMM_", "TRANSFORMERS_", "DIFFUSERS_", "TORCH")  # what libraries choose operations by
# What launchers tell their workers, and what says where files are and how much is printed: no operation follows it.
_OF_THE_PROCESS: Final = re.compile(
    r"TORCHELASTIC_.*|TORCHINDUCTOR_CACHE_DIR|TORCH_(?:NCCL|GLOO|DISTRIBUTED|ELASTIC|FR)_.*"
    r"|TORCH_(?:HOME|LOGS|LOGS_.*|TRACE|CPP_LOG_LEVEL|SHOW_.*|EXTENSIONS_DIR|CUDA_ARCH_LIST|XPU_ARCH_LIST)"
    r"|[A-Z]+_(?:VERBOSITY|CACHE|OFFLINE|IS_CI|NO_ADVISORY_WARNINGS)"
)


def cached_graph(architecture: Architecture, tracing: Tracing = STRICT) -> Graph:
    """Return the graph of an architecture as `graph_of` does, from the cache if it is there."""
    file = _file_of(architecture)
    if file is None:
        return graph_of(architecture, tracing)
    with suppress(OSError, GraphError):
        return _read(file, architecture)
    graph = graph_of(architecture, tracing)
    if graph.traced_by == next(iter(TRACING_BACKENDS)) and not graph.failures:
        with suppress(OSError, OutputError):
            keep_text(file, structure_to_json(graph))
    return graph


def _file_of(architecture: Architecture) -> Path | None:
    """Return the path of an architecture's graph in the cache; None where it is not kept."""
    folder = cache_folder()
    known = architecture.layout.source in LIBRARIES and architecture.module is not None
    if folder is None or not known or architecture.example is None:
        return None
    text = dumps([code_digest(), *_identity(architecture)], sort_keys=True, default=str)
    return folder / f"{sha256(text.encode()).hexdigest()}.json"


def cache_folder() -> Path | None:
    """Return the folder of the cache; None where it is off."""
    given = os.environ.get(CACHE_VARIABLE)
    if given == OFF:
        return None
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(given) if given else Path(home) / "paramgen" / "graphs"


def _identity(architecture: Architecture) -> Iterator[Any]:
    """Yield what the graph depends on, as JSON values; objects of libraries count by what they print."""
    source, module = architecture.layout.source, architecture.module
    assert module is not None
    yield architecture.spec, architecture.layout.config
    yield from chosen_outside(source)
    yield [(slot.name, slot.shape, str(slot.dtype), slot.kind, slot.tied_to) for slot in architecture.manifest.values()]
    yield [_described(value) for value in (architecture.example or ())]
    for path, child in module.named_modules():
        yield path, f"{type(child).__module__}.{type(child).__qualname__}", dict(_plain(child))


def chosen_outside(source: str) -> Iterator[Any]:
    """Yield the versions and the environment that the networks of a library and their graphs depend on."""
    yield {name: version(name) for name in ("torch", source)}, platform.python_version()
    yield {name: value for name, value in os.environ.items() if _chooses(name)}


def _chooses(variable: str) -> bool:
    """Whether a library may choose operations by an environment variable."""
    return variable.startswith(_ENVIRONMENT) and _OF_THE_PROCESS.fullmatch(variable) is None


def _plain(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that a module's forward pass may depend on: numbers, texts, and its kind of attention."""
    for name, value in vars(module).items():
        parts = value if isinstance(value, (tuple, list)) else (value,)
        if all(isinstance(part, _PLAIN) for part in parts):
            yield name, value
        elif name == "config":
            yield name, chosen_by(value)


def _described(value: Any) -> Any:
    """Return tensors by shape and dtype, everything else as it is."""
    if isinstance(value, Tensor):
        return list(value.shape), str(value.dtype)
    if isinstance(value, Mapping):
        return {str(name): _described(item) for name, item in value.items()}
    return [_described(item) for item in value] if isinstance(value, (tuple, list)) else value


@cache
def code_digest() -> str:
    """Return the digest of what builds and traces networks here."""
    digest = sha256()
    here = Path(__file__).parent
    read = ("", "tracing", "analysis", "../architectures", "../slots")
    for file in sorted(file for folder in read for file in (here / folder).glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _read(file: Path, architecture: Architecture) -> Graph:
    return structure_from_json(read_text(file), architecture.manifest)


def read_text(file: Path) -> str:
    """Return the content of a file in the cache, which is used now.

    Raises:
        GraphError: It is no file, or too large.
    """
    if not file.is_file():  # a pipe would be waited for
        raise GraphError(f"{file} is no file.")
    with file.open("rb") as opened:
        content = opened.read(MAX_CACHED_BYTES + 1)
    if len(content) > MAX_CACHED_BYTES:
        raise GraphError(f"{file} is larger than {MAX_CACHED_BYTES:,} bytes.")
    os.utime(file)  # the least used ones are removed first
    return content.decode("utf-8", errors="replace")


def keep_text(file: Path, text: str) -> None:
    """Write a file in one step, and remove those that were used least where there are too many.

    Only what is called like a graph of ours is counted and removed: the folder may hold what is somebody's.
    """
    if len(text) > MAX_CACHED_BYTES:
        return
    write_text(file, text)
    kept = [(path.stat().st_mtime, path) for path in file.parent.iterdir() if _OURS.fullmatch(path.name)]
    for _, path in sorted(kept)[:-MAX_CACHED_GRAPHS]:
        path.unlink(missing_ok=True)
