"""The outcome of a comparison: figures with where they come from, and the files that show them."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

import torch

from paramgen.comparison.conclusion import conclude, ranked
from paramgen.comparison.measures import by_seed, difference, reached, start_of
from paramgen.comparison.runs import Store
from paramgen.comparison.training import Bench
from paramgen.errors import one_line
from paramgen.errors.option_names import in_python
from paramgen.initializers.library import LIBRARY
from paramgen.modelcard.notebook import table
from paramgen.storage.folder import write_text

RESULTS: Final = "results.json"
_PACKAGES: Final = (
    *("paramgen", "torch", "accelerate", "numpy", "scipy", "transformers", "timm", "torchvision", "diffusers"),
)


@final
@dataclass(frozen=True, slots=True)
class Results:
    """Everything that was measured, as plain values: `values["architectures"][0]["conclusion"]["sentences"]`."""

    values: Mapping[str, Any]

    def __repr__(self) -> str:
        inits = ", ".join(dict.fromkeys(each["init"] for one in self.values["architectures"] for each in one["starts"]))
        names = ", ".join(one["name"] for one in self.values["architectures"])
        return f"Results({one_line(f'{inits} on {names}: {self.conclusion[0]}')})"

    def _repr_html_(self) -> str:
        from paramgen.comparison.table import header, rows

        tables = [table(one["name"], header(one), rows(one)) for one in self.values["architectures"]]
        return "".join(f"<p>{escape(in_python(sentence))}</p>" for sentence in self.conclusion) + "".join(tables)

    @property
    def conclusion(self) -> list[str]:
        """What it says, in sentences."""
        return list(self.values["conclusion"])

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        return dict(self.values)

    def write(self, folder: Path) -> None:
        """Write results.json, the table, the curves and the page."""
        from paramgen.comparison.curves import png
        from paramgen.comparison.page import html
        from paramgen.comparison.table import markdown

        write_text(folder / RESULTS, json.dumps(self.values, indent=1) + "\n")
        write_text(folder / "table.md", markdown(self.values))
        png(self.values, folder / "curves.png")
        write_text(folder / "index.html", html(self.values))


def results_of(
    benches: Sequence[Bench],
    inits: Sequence[str],
    store: Store,
    settings: Mapping[str, Any],
    *,
    data: Mapping[str, Any],
) -> Results:
    """Draw everything that was measured together."""
    architectures = [_architecture(bench, inits, store) for bench in benches]
    sentences = [
        sentence if len(benches) == 1 else f"{each['name']}: {sentence}"
        for each in architectures
        for sentence in each["conclusion"]["sentences"]
    ]
    return Results(
        {
            "conclusion": sentences,
            "data": dict(data),
            "protocol": benches[0].protocol.to_json(),
            "settings": dict(settings),
            "architectures": architectures,
            **_provenance(benches[0]),
        }
    )


def _architecture(bench: Bench, inits: Sequence[str], store: Store) -> dict[str, Any]:
    protocol, subject = bench.protocol, bench.subject
    task = bench.task.describe()
    starts = [start_of(init, store.ended(subject.name, init), protocol, task) for init in inits]
    simple = next((each for each in ranked(starts, task["metric"]) if each["simple"]), None)
    default = next((each for each in starts if each["init"] == LIBRARY and each["rate"] is not None), simple)
    for each in starts:
        each["steps_to_best_simple"] = _steps_to(each, simple, task)
        each["against"] = _against(each, default, task)
    return {
        "name": subject.name,
        "spec": subject.architecture.spec,
        "parameters": subject.architecture.manifest.parameters,
        "task": task,
        "notes": list(subject.notes),
        "best_simple": None if simple is None else simple["init"],
        "starts": starts,
        "conclusion": conclude(starts, task, steps=protocol.steps, seeds=protocol.seeds),
    }


def _steps_to(start: Mapping[str, Any], simple: Mapping[str, Any] | None, task: Mapping[str, Any]) -> Any:
    """Return after how many steps a start is where the best simple one ends: its mean curve, and each seed's."""
    if simple is None or start["rate"] is None:
        return None
    target, points, metric = simple["final"]["mean"], start["steps"], task["metric"]
    each = zip(*start["curve"]["values"], strict=True)
    return {
        "target": target,
        "mean_curve": reached(start["curve"]["mean"], points, target, metric),
        "values": [reached(curve, points, target, metric) for curve in each],
    }


def _against(start: Mapping[str, Any], other: Mapping[str, Any] | None, task: Mapping[str, Any]) -> Any:
    """Return how far a start ends above another: the default initialization where that was trained, with intervals."""
    if other is None or start["rate"] is None or start["init"] == other["init"]:
        return None
    found = difference(by_seed(start), by_seed(other), tested=task["test"])
    return None if found is None else {"init": other["init"], **found}


def _provenance(bench: Bench) -> dict[str, Any]:
    device = bench.accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "commit": _commit(),
        "hardware": {"device": device.type, "name": name, "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError

    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit of paramgen's own checkout; None where it was installed from a wheel."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    if not git("ls-files", "--error-unmatch", str(here.parent / "__init__.py")):
        return None
    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", str(here.parent)) else "")
