"""An architecture with its graph, and the file that is made of them: JSON to predict from, SVG or HTML to look at."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from paramgen.architectures import Architecture, Inputs
from paramgen.drawing import draw_html, draw_svg
from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_hash, graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.fallbacks import Tracing
from paramgen.prediction import describe
from paramgen.storage.folder import write_text

ENDINGS: Final = (".json", ".svg", ".html")


class Traced(NamedTuple):
    """An architecture and its graph: `architecture, graph = paramgen.graph("vit_b16")`."""

    architecture: Architecture
    graph: Graph

    def __repr__(self) -> str:
        return f"Traced({self.architecture.spec!r}, {self.graph!r})"

    def text(self, ending: str) -> str:
        """Return the graph as JSON to predict from (`.json`), or drawn (`.svg`, `.html`)."""
        if ending == ".json":
            return graph_to_json(self.architecture, self.graph)
        draw = draw_svg if ending == ".svg" else draw_html
        return draw(self.graph, title=self.architecture.spec)

    def to_json(self) -> dict[str, Any]:
        """Return what `paramgen graph --json` prints, but the file."""
        return {
            "spec": self.architecture.spec,
            "nodes": len(self.graph),
            "edges": len(self.graph.edges),
            "parameters": self.architecture.manifest.parameters,
            "traced_by": self.graph.traced_by,
            "trace_failures": list(self.graph.failures),
            "unreachable": self.graph.unreachable(),
            "sha256": graph_hash(self.graph),
        }


def traced(
    arch: Any,
    *,
    overrides: Mapping[str, Any] | None,
    example_input: Inputs | None,
    tracing: Tracing,
    out: Path | None,
    overwrite: bool,
) -> Traced:
    """Build and trace an architecture, and write the file, if one is requested; refuse its name first."""
    if out is not None:
        _refuse(out, overwrite)
    found = Traced(*describe(arch, overrides=overrides, example_input=example_input, tracing=tracing))
    if out is not None:
        write_text(out, found.text(out.suffix))
    return found


def _refuse(out: Path, overwrite: bool) -> None:
    if out.suffix not in ENDINGS:
        raise OptionError(f"{str(out)!r} has the ending {out.suffix!r}. Allowed: .json, .svg and .html")
    if out.exists() and not overwrite:
        raise OptionError(f"{str(out)!r} exists. Type another name, or add --overwrite")
