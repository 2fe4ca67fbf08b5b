"""Time and memory of `paramgen predict`: `python -m benchmarks.speed.predict [ARCH ...] [--init SPEC]`.

For every architecture the whole command runs in a process of its own, as a user runs it. Beside it, in turn, runs a
process that imports the same library and saves random tensors of the same shapes: the ratio of the two says what
predicting adds to what any writer has to do. Memory is the peak of the command over the peak of a process that
imports the same modules and does nothing. Networks too large to write are planned only. The table goes to stdout; the
medians of all rounds, with commit, hardware and versions, go to `cards/results/predict.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from subprocess import DEVNULL
from typing import Any, Final, final

from benchmarks.provenance import provenance

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "predict.json"
STAGES: Final = ("import", "build", "trace", "choose", "predict", "check")
STARTUP: Final = {
    "python": ["-c", "pass"],
    "import paramgen": ["-c", "import paramgen"],
    "paramgen --help": ["-m", "paramgen", "--help"],
}
PLANNED: Final = {
    "a Llama": (
        "transformers:llama?vocab_size=128256&hidden_size=8192&intermediate_size=28672&num_hidden_layers=80"
        "&num_attention_heads=64&num_key_value_heads=8"
    ),
    "a Mixtral": (
        "transformers:mixtral?vocab_size=32768&hidden_size=6144&intermediate_size=16384&num_hidden_layers=56"
        "&num_attention_heads=48&num_key_value_heads=8&num_local_experts=8"
    ),
    "a Qwen3 of 128 experts a layer": (
        "transformers:qwen3_moe?vocab_size=151936&hidden_size=4096&num_hidden_layers=94&num_attention_heads=64"
        "&num_key_value_heads=4&num_experts=128&num_experts_per_tok=8&moe_intermediate_size=1536"
    ),
}
"""Networks of 70 billion parameters and more, by what they are called in a sentence."""

_LARGE: Final = 2_000_000_000  # parameters; of what is as large there is one round
# Python keeps what it compiled, as pip leaves a package: some machines tell it not to. Every graph is traced.
_ENVIRONMENT: Final = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PARAMGEN_GRAPH_CACHE": "off",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a process printed and took."""

    printed: str
    wall: float
    cpu: float
    peak: int  # bytes of resident memory


def main() -> None:
    """Run every architecture, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("arch", nargs="*", default=["vit_b16", "gpt2-large", "llama-3b"])
    parser.add_argument("--init", nargs="*", default=["auto", "hypernet"], help="as for paramgen predict")
    parser.add_argument("--repeat", type=int, default=5, help="rounds, of which the median counts")
    parser.add_argument("--startup", type=int, default=21, help="runs of what is done before the first import")
    parser.add_argument("--folder", type=Path, default=None, help="the disk to write to")
    given = parser.parse_args()
    rows = [measure(arch, init, given.repeat, given.folder) for arch in given.arch for init in given.init]
    print(table(rows))
    planned = [plan(name, arch) for name, arch in PLANNED.items()]
    result = {**provenance(), "startup_ms": startup(given.startup), "rows": rows, "planned": planned}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measure(arch: str, init: str, repeat: int, disk: Path | None) -> dict[str, Any]:
    """Return the figures of one architecture and one start."""
    rounds: list[tuple[Ran, Ran, Ran]] = []
    with tempfile.TemporaryDirectory(dir=disk) as name:
        folder = Path(name)
        record = folder / "record.json"
        seconds = []
        parameters = 0
        for number in range(repeat + 1):  # the first is to warm up
            if number > 1 and parameters >= _LARGE:
                break
            staged = json.loads(run(_part("stages", arch, init, str(folder / "staged"))).printed)
            record.write_text(json.dumps(staged), encoding="utf-8")
            _emptied(folder, record)
            imports = run(_part("imports", str(record)))
            command = ["-m", "paramgen", "predict", "--arch", arch, "--init", init, "--json"]
            whole = run([sys.executable, *command, "--out", str(folder / "whole")])
            _emptied(folder, record)
            limit = run(_part("limit", str(record), str(folder / "limit.safetensors")))
            _emptied(folder, record)
            parameters = json.loads(whole.printed)["parameters"]
            print(f"{arch} {init}: {whole.wall:.1f} s, limit {limit.wall:.1f} s", file=sys.stderr, flush=True)
            if number:
                rounds.append((whole, limit, imports))
                seconds.append(staged["seconds"])
    return _row(arch, init, rounds, seconds)


def _row(
    arch: str, init: str, rounds: Sequence[tuple[Ran, Ran, Ran]], stages: Sequence[dict[str, float]]
) -> dict[str, Any]:
    printed = json.loads(rounds[0][0].printed)
    wall = median(whole.wall for whole, _, _ in rounds)
    return {
        "arch": arch,
        "init": init,
        "resolved": printed.get("resolved", init),
        "rounds": len(rounds),
        "parameters": printed["parameters"],
        "nodes": printed["nodes"],
        "written_bytes": sum(printed["files"].values()),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(median(whole.cpu for whole, _, _ in rounds), 2),
        "parameters_per_second": round(printed["parameters"] / wall),
        "limit_wall_seconds": round(median(limit.wall for _, limit, _ in rounds), 2),
        "limit_cpu_seconds": round(median(limit.cpu for _, limit, _ in rounds), 2),
        "wall_ratio": round(median(whole.wall / limit.wall for whole, limit, _ in rounds), 2),
        "wall_ratios": [round(whole.wall / limit.wall, 2) for whole, limit, _ in rounds],
        "cpu_ratio": round(median(whole.cpu / limit.cpu for whole, limit, _ in rounds), 2),
        "stages": {stage: round(median(each[stage] for each in stages), 2) for stage in STAGES},
        "peak_rss_bytes": round(median(whole.peak for whole, _, _ in rounds)),
        "imports_rss_bytes": round(median(imports.peak for _, _, imports in rounds)),
        "beyond_imports_bytes": round(median(whole.peak - imports.peak for whole, _, imports in rounds)),
        "limit_rss_bytes": round(median(limit.peak for _, limit, _ in rounds)),
    }


def plan(name: str, arch: str) -> dict[str, Any]:
    """Return what building, tracing and planning a network takes, of which nothing is written."""
    ran = run([sys.executable, "-m", "paramgen", "predict", "--arch", arch, "--dry-run", "--json"])
    printed = json.loads(ran.printed)
    known = {key: printed[key] for key in ("parameters", "nodes", "traced_by", "unreachable")}
    seconds = {"wall_seconds": round(ran.wall, 1), "cpu_seconds": round(ran.cpu, 1)}
    return {"name": name, "arch": arch, **known, **seconds, "peak_rss_bytes": ran.peak}


def startup(repeat: int) -> dict[str, float]:
    """Return the median milliseconds of what every use of the package begins with, one after the other in turn."""
    times: dict[str, list[float]] = {name: [] for name in STARTUP}
    for _ in range(repeat):
        for name, arguments in STARTUP.items():
            times[name].append(run([sys.executable, *arguments]).wall)
    return {name: round(1000 * median(seconds)) for name, seconds in times.items()}


def _part(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.speed.predict_parts", *arguments]


def _emptied(folder: Path, record: Path) -> None:
    """Remove what was written, and wait for the disk: what one process left to write is not the next one's."""
    for path in folder.iterdir():
        if path.is_dir():
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
        elif path != record:
            path.unlink()
    os.sync()


def run(command: list[str], *, status: int = 0, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a command and return what it prints, its wall and CPU seconds and its peak resident memory.

    Args:
        command: What is run.
        status: What it is to end with.
        environment: Variables beside those of this process.

    """
    begin = time.perf_counter()
    known = {**_ENVIRONMENT, **(environment or {})}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=DEVNULL if status else None, text=True, env=known
    ) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, ended, usage = os.wait4(process.pid, 0)  # of this child alone; getrusage adds up all there were
        process.returncode = os.waitstatus_to_exitcode(ended)
    if process.returncode != status:
        raise SystemExit(f"{' '.join(command[:6])} ... ended with {process.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024
    wall = time.perf_counter() - begin
    return Ran(printed=printed, wall=wall, cpu=usage.ru_utime + usage.ru_stime, peak=usage.ru_maxrss * unit)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"| architecture | start | parameters | command | {' | '.join(STAGES)} | limit | ratio | beyond imports |",
        "|---|---|" + "---:|" * (len(STAGES) + 5),
    ]
    for row in rows:
        stages = " | ".join(f"{row['stages'][stage]:.1f} s" for stage in STAGES)
        cells = [
            row["arch"],
            row["init"],
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['wall_seconds']:.1f} s",
            stages,
            f"{row['limit_wall_seconds']:.1f} s",
            f"{row['wall_ratio']:.2f}",
            f"{row['beyond_imports_bytes'] / 1e6:,.0f} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
