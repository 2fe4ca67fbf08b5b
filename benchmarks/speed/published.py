"""`python -m benchmarks.speed.published`: seconds and memory of a published hypernet of the size T/m8, random weights.

Every network is measured in a process of its own: its graph as the published code draws it with virtual edges, then
its prediction, then what no prediction can do without: writing as many new elements once. CPU seconds are what counts
where other programs run, of several runs the least; wall seconds stand beside them.
"""

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.provenance import provenance
from paramgen.architectures import Inputs, resolve
from paramgen.architectures.recorder import record
from paramgen.graphs.views.published.view import published_view
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.decoders.conv import ConvConfig
from paramgen.hypernets.encoders.graphormer import GraphormerConfig
from paramgen.hypernets.hypernet import Hypernet
from paramgen.hypernets.normalization import FanIn
from paramgen.slots.manifest import Manifest, read_manifest

NETWORKS: Final = (
    "resnet18 resnet50 mobilenet_v3_large efficientnet_b0 convnext_base "
    "vit_b_16 swin_t densenet121 regnet_y_16gf vit_l_16"
).split()
DEPTHS: Final = (8, 16, 32, 64, 128, 256)  # blocks of the stacks whose cost should grow as their nodes do
COLUMNS: Final = tuple(
    "network nodes tensors graph_s graph_cpu_s predict_s predict_cpu_s write_cpu_s peak_mib before_mib".split()
)


def tiny() -> HypernetConfig:
    """Return the configuration of the published GHN-3-T/m8."""
    return HypernetConfig(
        encoder=GraphormerConfig(
            hidden=64, layers=3, heads=8, primitives=15, channels=(1000,), spatial=16, cutoff=50, final_norm=True
        ),
        decoder=ConvConfig(max_out=64, max_in=64, kernel=16, classes=1000),
        normalization=FanIn(spare_tables=True),
        vocabulary="published",
        roles=("weight", "scale", "bias", "position", "class_weight", "class_bias"),
        residual=False,
    )


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.bn1(self.conv1(images)))
        return torch.relu(images + self.bn2(self.conv2(inner)))


def stack(blocks: int) -> nn.Module:
    """Return a residual network of so many basic blocks."""
    stem = nn.Conv2d(3, 16, 3, padding=1)
    return nn.Sequential(
        stem, *(_Block() for _ in range(blocks)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def built(name: str) -> tuple[nn.Module, Manifest, Inputs]:
    """Return a network of torchvision, or the stack of so many blocks, on the meta device."""
    if name.isdecimal():
        module, draws = record(lambda: stack(int(name)))
        return module, read_manifest(module, draws), ((torch.zeros(2, 3, 32, 32, device="meta"),), {})
    made = resolve(f"torchvision:{name}")
    if made.module is None or made.example is None:
        raise ValueError(f"{name} has no module to trace. Give the name of a torchvision classifier.")
    return made.module, made.manifest, made.example


def measure(name: str) -> dict[str, Any]:
    """Return the figures of one network; run it in a fresh process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hypernet = Hypernet(tiny()).eval()
    made = built(name)
    before = _peak()
    view, graph = _timed("graph", lambda: published_view(*made, family="ghn3", softmax="fused"))
    with torch.no_grad():
        weights, prediction = _timed("predict", lambda: dict(hypernet(view)))
    peak = _peak()
    _, written = _timed("write", lambda: [torch.empty_like(weight).fill_(1) for weight in weights.values()])
    return {
        "network": name,
        "nodes": len(view.primitives),
        "tensors": len(weights),
        "parameters": sum(weight.numel() for weight in weights.values()),
        **graph,
        **prediction,
        **written,
        "peak_mib": peak,
        "before_mib": before,
    }


def _timed(what: str, act: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    made = act()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return made, {f"{what}_s": round(wall, 3), f"{what}_cpu_s": round(cpu, 3)}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # Linux counts in KiB


def fresh(name: str, repeat: int) -> dict[str, Any]:
    """Measure one network in processes of its own; of each figure the least counts."""
    command = [sys.executable, "-m", "benchmarks.speed.published", "--only", name]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(repeat)
    ]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def exponent(rows: list[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
    """Return the slope of the logarithm of a figure against that of nodes, by least squares."""
    xs, ys = [math.log(row["nodes"]) for row in rows], [math.log(max(figure(row), 1e-3)) for row in rows]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
    return round(slope, 2)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(str(row[key]) for key in COLUMNS))
    return table


def main(
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("cards/results/parity_speed.json"),
    repeat: Annotated[int, typer.Option(help="Runs of each network.")] = 3,
    only: Annotated[str, typer.Option(help="Measure one network here and print its figures as JSON.")] = "",
) -> None:
    """Measure graphs and predictions."""
    if only:
        print(json.dumps(measure(only)))
        return
    networks = [fresh(name, repeat) for name in NETWORKS]
    depths = [fresh(str(blocks), repeat) for blocks in DEPTHS]
    Console(width=140).print(_table(networks + depths))
    growth = {
        "graph_cpu_s": exponent(depths[-4:], lambda row: row["graph_cpu_s"]),
        "predict_cpu_s": exponent(depths[-4:], lambda row: row["predict_cpu_s"]),
        "beyond_writing_cpu_s": exponent(depths[-4:], lambda row: row["predict_cpu_s"] - row["write_cpu_s"]),
    }
    content = {"result": "parity_speed", **provenance(), "networks": networks, "depths": depths, "exponents": growth}
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
