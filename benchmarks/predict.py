"""Time and memory of `paramgen predict`: `python -m benchmarks.predict [ARCH ...] [--init SPEC]`.

For every architecture the whole command runs in a process of its own, as a user runs it: its wall time and the peak
of its resident memory, of which the file that it writes is no part. A second process runs the same stages one by one
and takes their times. The table goes to stdout, the figures with commit, hardware and versions to
`benchmarks/results/predict.json`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.provenance import provenance

RESULTS: Final = Path(__file__).parent / "results" / "predict.json"
STAGES: Final = ("import", "build", "trace", "predict", "check")
_STAGED: Final = """
import json, sys, time
times = {}
def lap(stage, since):
    times[stage] = time.perf_counter() - since
    return time.perf_counter()
arch, init, folder = sys.argv[1:]
now = time.perf_counter()
from pathlib import Path
from paramgen.architectures import resolve
from paramgen.graphs.fallbacks import graph_of
from paramgen.initializers import initializer_of
from paramgen.prediction import Prediction
from paramgen.writing import write_prediction
initializer = initializer_of(init)
initializer.describe()
now = lap("import", now)
architecture = resolve(arch)
now = lap("build", now)
graph = graph_of(architecture)
now = lap("trace", now)
prediction = Prediction(
    architecture=architecture, graph=graph, initializer=initializer, init=init, seed=0, dtype=None
)
written = write_prediction(prediction, Path(folder), max_shard="5GB", overwrite=False, verify=True)
print(json.dumps({**times, **written.seconds}))
"""


def main() -> None:
    """Run every architecture, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("arch", nargs="*", default=["vit_b16", "gpt2-large"])
    parser.add_argument("--init", default="hypernet", help="as for paramgen predict")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each; the fastest counts")
    parser.add_argument("--folder", type=Path, default=None, help="the disk to write to")
    given = parser.parse_args()
    rows = {arch: _best([measure(arch, given.init, given.folder) for _ in range(given.repeat)]) for arch in given.arch}
    print(table(rows))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({**provenance(), "init": given.init, "rows": rows}, indent=2) + "\n")


def measure(arch: str, init: str, disk: Path | None) -> dict[str, Any]:
    """Return the figures of one architecture."""
    with tempfile.TemporaryDirectory(dir=disk) as folder:
        command = [sys.executable, "-m", "paramgen.cli", "predict", "--arch", arch, "--init", init, "--json"]
        whole, wall, cpu, peak = _run([*command, "--out", f"{folder}/whole"])
        record = json.loads(whole)
        staged, *_ = _run([sys.executable, "-c", _STAGED, arch, init, f"{folder}/staged"])
    return {
        "parameters": record["parameters"],
        "written_bytes": sum(record["files"].values()),
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2),
        "peak_rss_bytes": peak,
        "stages": {stage: round(seconds, 2) for stage, seconds in json.loads(staged).items()},
    }


def _run(command: list[str]) -> tuple[str, float, float, int]:
    """Run a command and return what it prints, its wall and CPU seconds and its peak resident memory in bytes."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone; getrusage adds up all there were
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:6])} ... ended with {process.returncode}.")
    unit = 1 if sys.platform == "darwin" else 1024
    return printed, time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit


def _best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return min(runs, key=lambda run: float(run["wall_seconds"]))


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"| architecture | parameters | written | whole command | {' | '.join(STAGES)} | peak memory |",
        "|---|" + "---:|" * (len(STAGES) + 4),
    ]
    for arch, row in rows.items():
        stages = " | ".join(f"{row['stages'][stage]:.1f} s" for stage in STAGES)
        lines.append(
            f"| {arch} | {row['parameters'] / 1e6:.1f} M | {row['written_bytes'] / 1e6:,.0f} MB "
            f"| {row['wall_seconds']:.1f} s | {stages} | {row['peak_rss_bytes'] / 1e6:,.0f} MB |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
