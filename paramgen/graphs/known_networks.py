"""Networks that were built and traced before: what a prediction needs of them, kept beside their graphs.

A network is found by what was typed and by the versions of its library, of torch and of the code here; what is read is
checked as hostile. Whatever looks at the network itself, as an initializer does that runs it, ends with a
`NetworkNeeded`, and the command begins again with a network that is built.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from json import dumps
from pathlib import Path
from typing import Any, Never, SupportsIndex, final

from torch import nn

from paramgen.architectures import Architecture, Inputs, resolve
from paramgen.architectures.followed import TokenizerVocabulary
from paramgen.errors import GraphError, OutputError
from paramgen.graphs.cache import (
    LIBRARIES,
    cache_folder,
    cached_graph,
    chosen_outside,
    code_digest,
    keep_text,
    read_text,
)
from paramgen.graphs.graph_json import GRAPH_FILES, graph_from_json, graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import STRICT, Tracing
from paramgen.graphs.unbuilt import NetworkNeeded, may_stay_unbuilt
from paramgen.registry import Spec
from paramgen.registry.aliases import ALIASES
from paramgen.registry.overrides import split_spec


def named_network(
    arch: str,
    overrides: Mapping[str, Any] | None = None,
    example: Inputs | None = None,
    *,
    tokens: TokenizerVocabulary | None = None,
    tracing: Tracing = STRICT,
) -> tuple[Architecture, Graph]:
    """Return the network that `arch` names and its graph; it is not built where that is allowed and it was before."""
    usual = example is None and tokens is None and may_stay_unbuilt()
    file = _file_of(arch, overrides or {}) if usual else None
    if file is not None and (known := _read(file)) is not None:
        return known
    architecture = resolve(arch, overrides, example, tokens=tokens)
    graph = cached_graph(architecture, tracing)
    if file is not None:
        _keep(file, architecture, graph)
    return architecture, graph


def _read(file: Path) -> tuple[Architecture, Graph] | None:
    """Return what is kept of a network; None where there is nothing, or nothing sound."""
    with suppress(OSError, GraphError):
        architecture, graph = graph_from_json(read_text(file))
        return replace(architecture, module=_Unbuilt(), example=(_Arguments(), _Keywords()), construct=_needed), graph
    return None


def _keep(file: Path, architecture: Architecture, graph: Graph) -> None:
    """Keep what a prediction needs of a network, unless there is more to it than a graph's JSON has."""
    more = architecture.notes or architecture.guessed or architecture.extra or graph.failures
    if not more and graph.ordered and GRAPH_FILES.issuperset(architecture.layout.files):
        with suppress(OSError, OutputError):
            keep_text(file, graph_to_json(architecture, graph))


def _file_of(arch: str, overrides: Mapping[str, Any]) -> Path | None:
    """Return where a network is kept: one that a library knows by its name, without any file."""
    folder = cache_folder()
    if folder is None:
        return None
    bare, _ = split_spec(arch)
    full, _ = split_spec(ALIASES.get(bare, bare))
    named = Spec.parse(full)
    if named.kind not in LIBRARIES or not named.argument.replace("_", "").replace("-", "").replace(".", "").isalnum():
        return None
    if full.endswith(".json") or Path(named.argument).exists():
        return None
    try:
        known = [code_digest(), "network", arch, ALIASES.get(bare), dict(overrides), *chosen_outside(named.kind)]
        return folder / f"{sha256(dumps(known, sort_keys=True).encode()).hexdigest()}.json"
    except (PackageNotFoundError, TypeError, ValueError):  # no such library here, or a value that JSON has not
        return None


def _needed(*_: Any) -> Never:
    raise NetworkNeeded


@final
class _Unbuilt(nn.Module):
    """Stands where a network would be."""

    def __init__(self) -> None:
        """Leave out what a module has."""

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name) if name.startswith("__") else _needed()

    def __getattr__(self, name: str) -> Any:
        _needed()


@final
class _Arguments(tuple[Any, ...]):
    """Stands where the positional arguments of its example input would be."""

    __slots__ = ()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        _needed()

    def __iter__(self) -> Iterator[Any]:
        _needed()


@final
class _Keywords(Mapping[str, Any]):
    """Stands where those by name would be."""

    def __getitem__(self, name: str) -> Any:
        _needed()

    def __iter__(self) -> Iterator[str]:
        _needed()

    def __len__(self) -> int:
        return 0
