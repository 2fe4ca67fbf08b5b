"""Are our graphs and weights those of the reference implementations?

    python -m benchmarks.parity.reference --reference DIR

DIR holds what the published code computes: small checkpoints in its formats, and per network, as JSON, the graph that
it draws and the norm and some values of every tensor that it predicts; for some networks all values. The checkpoints
are converted as a user's would be, every network is predicted, and the differences go to a table and a result.
"""

import base64
import gzip
import json
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.parity.published import built, family_of, softmax_of, view_of
from benchmarks.provenance import provenance
from paramgen.graphs.views.published.view import published_graph
from paramgen.hypernets.hypernet import Hypernet
from paramgen.published.convert import convert

CHECKPOINTS: Final = {"ghn3": "ghn3_small.pt", "logah_vit": "logah_vit_small.pt", "logah_gpt": "logah_gpt_small.pt"}
COLUMNS: Final = tuple("network nodes kinds names edges virtual_edges tensors norm values full compared".split())


def graph_figures(name: str, graph: dict[str, Any]) -> dict[str, Any]:
    """Return what of the graph is as the reference drew it."""
    ours = published_graph(*built(name), family=family_of(name), softmax=softmax_of(name))
    nodes = len(ours)
    lengths = np.frombuffer(zlib.decompress(base64.b64decode(graph["adj_zlib_b64_uint8_rowmajor"])), np.uint8)
    return {
        "nodes": nodes,
        "kinds": list(ours.primitives) == graph["prim_names"],
        "names": list(ours.names) == graph["node_param_name"],
        "edges": ours.edges.tolist() == sorted(graph["edges_1hop"]),
        "virtual_edges": np.array_equal(view_of(name).distances.numpy().ravel(), lengths),
    }


def weight_figures(weights: dict[str, Tensor], params: dict[str, Any], whole: dict[str, Tensor]) -> dict[str, Any]:
    """Return the largest relative L2 differences: of norms, of the sampled values, of tensors known in full."""
    wanted = {name for name, entry in params.items() if entry["predicted"]}
    norms, values, full = [0.0], [0.0], []
    for name, weight in weights.items():
        entry = params[name]
        start = weight.shape[-1] if weight.dim() == 3 else 0  # a position table's first row is random
        known = dict(enumerate(entry["first16"])) | dict(zip(entry["pos"], entry["at"], strict=True))
        places = [place for place in known if place >= start]
        values.append(_relative(weight.flatten()[places], torch.tensor([known[place] for place in places])))
        if not start:
            norms.append(abs(weight.double().norm().item() / entry["l2"] - 1))
        if name in whole:
            part = weight[tuple(slice(size) for size in whole[name].shape)]
            full.append(_relative(part.flatten()[start:], whole[name].flatten()[start:]))
    return {
        "tensors": len(weights),
        "same_tensors": set(weights) == wanted,
        "same_shapes": all(list(weight.shape) == params[name]["shape"] for name, weight in weights.items()),
        "norm": max(norms),
        "values": max(values),
        "full": max(full) if full else None,
        "compared": len(full),
    }


def _relative(ours: Tensor, wanted: Tensor) -> float:
    """Return the relative L2 difference; nothing differs where both are empty or zero."""
    difference = (ours.double() - wanted.double()).norm().item()
    return difference / wanted.double().norm().item() if difference else 0.0


def _whole(file: Path) -> dict[str, Tensor]:
    """Return the tensors known in full, or a corner of each; those kept in half precision say too little."""
    name = file.name.removesuffix(".json.gz")
    kept = [file.with_name(f"{name}{ending}.safetensors") for ending in ("_full", "_crop32")]
    return {key: tensor for path in kept if path.exists() for key, tensor in load_file(path).items()}


def measure(reference: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of each network of a reference folder."""
    hypernets = {}
    for family, file in CHECKPOINTS.items():
        convert(reference / file, folder / family)
        hypernets[family] = Hypernet.from_pretrained(folder / family).eval()
    for path in sorted((*reference.glob("ghn3/*.json.gz"), *reference.glob("logah/*.json.gz"))):
        name = path.name.removesuffix(".json.gz")
        wanted = json.loads(gzip.decompress(path.read_bytes()))
        with torch.no_grad():
            weights = dict(hypernets[family_of(name)](view_of(name)))
        yield {
            "network": name,
            "family": family_of(name),
            "softmax": softmax_of(name),
            **graph_figures(name, wanted["graph"]),
            **weight_figures(weights, wanted["params"], _whole(path)),
        }


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "networks": len(rows),
        "equal_graphs": sum(all(row[key] for key in ("kinds", "names", "edges", "virtual_edges")) for row in rows),
        "tensors": sum(row["tensors"] for row in rows),
        "worst": max(max(row["norm"], row["values"], row["full"] or 0.0) for row in rows),
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(*(column.replace("_", " ") for column in COLUMNS))
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in COLUMNS))
    return table


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "equal" if value else "DIFFERENT"
    return f"{value:.1e}" if isinstance(value, float) else str("" if value is None else value)


def main(
    reference: Annotated[Path, typer.Option(help="A folder of what the reference implementations compute.")],
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("cards/results/published_parity.json"),
) -> None:
    """Compare graphs and predictions with the reference implementations'."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(reference, Path(folder)))
    Console(width=160).print(_table(rows))
    content = {"result": "published_parity", **provenance(), "totals": _totals(rows), "networks": rows}
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
