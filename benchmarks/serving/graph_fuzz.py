"""Generated graphs, read and filled.

    python -m benchmarks.serving.graph_fuzz

The result is cards/results/graph_fuzz.json.

Each graph of `benchmarks.serving.generated_graphs` is read as a server reads it and filled by an initializer of the
registry. It must be answered or refused in one line of ours; anything else is kept. What a draw makes must be the same
whatever was in memory before. Graphs are counted by seed and number, so that a run that was ended goes on where it was.
"""

import ctypes
import json
import os
import time
import traceback
from collections import Counter
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryFile
from typing import Annotated, Any, Final

import torch
import typer

from benchmarks.provenance import provenance
from benchmarks.serving.generated_graphs import generated
from benchmarks.serving.load import resident
from paramgen.drawing import draw_html
from paramgen.errors import ParamgenError, one_line
from paramgen.graphs.graph_json import graph_from_json, graph_to_json
from paramgen.initializers import Initializer, initializer_of, initializers
from paramgen.initializers.library import DEFAULTS, default_weights
from paramgen.prediction import DTYPES, Prediction, prediction_of
from paramgen.slots.manifest import Slot
from paramgen.storage.folder import write_text

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "cards" / "results" / "graph_fuzz.json"
CHUNK: Final = 5_000
"""Graphs that one process reads; what ends a process is found so, and so is what grows in it."""
SLOW: Final = 20.0  # seconds of the processor for one graph, whatever else runs beside
MAX_LINE: Final = 900  # characters
OTHERS: Final = ("diffusion", "grow", "inherit", "transplant", "weight_selection", "matched", "shuffled")
"""Initializers that read another model's folder, or need another initializer."""
VARIANTS: Final = (
    "he?mode=fan_out&distribution=uniform",
    "idinit?convolutions=channel",
    "orthogonal?convolutions=delta",
    "orthogonal?gain=1000",
    "mimetic?positions=false",
    "mup?queries=drawn",
    "mimetic?alpha1=-1000",
    "mup?base=1000000&std=1000",
    "scaled?std=1000",
    "xavier?distribution=normal",
    "lir?exact=false",
    "hypernet:text",
    "matched:xavier",
    "shuffled:idinit",
)
_PERTURB: Final = -6  # glibc's M_PERTURB: memory that is handed out is filled with a byte


def fillers() -> tuple[str, ...]:
    """Return the initializers of the registry that need no file, and some of their options."""
    return (*(name for name in initializers.names() if name not in OTHERS), *VARIANTS)


def attempt(seed: int, number: int) -> str:
    """Return how the graph of this number ends; raise what must not be raised."""
    draw = Random(f"{seed} {number}")
    data = generated(draw)
    return tried(data, draw.choice(fillers()), draw.choice((None, None, *DTYPES)), seed=number)


def tried(data: dict[str, Any], init: str, dtype: str | None, *, seed: int) -> str:
    """Read a graph, fill it, and now and then write it again or draw it; return how that ends."""
    try:
        architecture, graph = graph_from_json(json.dumps(data))
        again = graph_to_json(architecture, graph)
        if seed % 4 == 0 and again != graph_to_json(*graph_from_json(again)):
            raise AssertionError("a graph that was read is written as another one")
        initializer = _initializer(init)
        prediction = prediction_of(architecture, graph, initializer, init=init, seed=seed, dtype=dtype)
        _fill(prediction)
        if seed % 8 == 0:
            draw_html(graph, title=init)
    except ParamgenError as error:
        if "\n" in str(error) or len(str(error)) > MAX_LINE:
            raise AssertionError(f"not one short line: {str(error)[:300]!r}") from error
        return f"refused: {type(error).__name__}"
    return "answered"


def _fill(prediction: Prediction) -> None:
    """Ask for every tensor; each has its slot's shape, and is the same whatever was in memory before."""
    manifest, left = prediction.architecture.manifest, set(prediction.rules)
    for name, tensor in prediction:
        left.remove(name)
        slot = manifest[name]
        if tuple(tensor.shape) != slot.shape or tensor.dtype != prediction.dtype_of(slot):
            raise AssertionError(f"{prediction.init} makes {tensor.dtype} of shape {tuple(tensor.shape)}")
        if prediction.rules[name] not in DEFAULTS and not bool(tensor.isfinite().all()):
            raise AssertionError(f"{prediction.init} makes values that are not finite")
    if left:
        raise AssertionError(f"{prediction.init} leaves out {len(left)} slots")
    for slot in manifest.filled:
        if (
            slot.program is not None
            and len(slot.program.steps) != 2
            and len({_drawn_on(byte, slot) for byte in (1, 254)}) != 1
        ):
            raise AssertionError(f"what is drawn depends on what was in memory: {slot.program}")


def _drawn_on(byte: int, slot: Slot) -> bytes:
    """Return the bytes of a draw where memory that is handed out is filled with a byte."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_PERTURB, byte)
    try:
        return default_weights(slot, 0).contiguous().view(-1).view(torch.uint8).numpy().tobytes()
    finally:
        if set_option is not None:
            set_option(_PERTURB, 0)


@cache
def _initializer(init: str) -> Initializer:
    return initializer_of(init)


def chunk(seed: int, numbers: range, report: int) -> None:
    """Try some graphs and write what came of them, and of the memory, into a pipe. A process is made for it."""
    ends, crashes, memory = Counter[str](), dict[str, list[Any]](), list[float]()
    for number in numbers:
        os.pwrite(report, number.to_bytes(8, "little"), 0)
        began = time.process_time()
        try:
            ends[attempt(seed, number)] += 1
        except Exception as error:  # what must not be
            ends["crash"] += 1
            crashes.setdefault(_name(error), [number, 0])[1] += 1
        if time.process_time() - began > SLOW:
            ends["slow"] += 1
            crashes.setdefault(f"more than {SLOW:g} s", [number, 0])[1] += 1
        if number in (numbers[len(numbers) // 3], numbers[-1]):
            memory.append(resident(os.getpid()))
    found = {"ends": ends, "crashes": crashes, "rss_mib": memory}
    os.pwrite(report, json.dumps(found).encode(), 8)


def _name(error: Exception) -> str:
    """Return what an error is called, and where in the project it came from."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "/paramgen/" in frame.filename]
    where = f" @ {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__}: {one_line(error)[:160]}{where}"


def forked(seed: int, numbers: range) -> dict[str, Any]:
    """Try some graphs in a process of their own; what ends it counts as a crash of the graph that it was at."""
    with TemporaryFile() as report:
        child = os.fork()
        if child == 0:
            try:
                chunk(seed, numbers, report.fileno())
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        report.seek(0)
        content = report.read()
    if len(content) > 8:
        found: dict[str, Any] = json.loads(content[8:])
        return found
    last = int.from_bytes(content[:8], "little")
    name = f"the process ended with {os.waitstatus_to_exitcode(status)}"
    return {"ends": {"crash": 1}, "crashes": {name: [last, 1]}, "rss_mib": [], "last": last}


def main(
    minutes: Annotated[float, typer.Option(help="After which no more are tried.")] = 60,
    examples: Annotated[int, typer.Option(help="Graphs in all, those of an earlier run with the seed included.")] = 10
    ** 6,
    seed: Annotated[int, typer.Option(help="Of the graphs.")] = 0,
    out: Annotated[Path, typer.Option(help="The result, which a later run goes on from.")] = RESULT,
) -> None:
    """Try, write the result now and then, print it; exit with 1 if anything but an answer or a refusal came."""
    until = time.monotonic() + minutes * 60
    found = _begun(out, seed)
    for init in fillers():
        _initializer(init)
    for number in range(100):  # the first graphs import for seconds: here once, and not in every process
        with suppress(Exception):
            attempt(seed, number)
    while found["graphs"] < examples and time.monotonic() < until:
        began = time.monotonic()
        numbers = range(found["graphs"], min(found["graphs"] + CHUNK, examples))
        part = forked(seed, numbers)
        found["graphs"] = part.get("last", numbers[-1]) + 1
        found["seconds"] = round(found["seconds"] + time.monotonic() - began, 1)
        for end, count in part["ends"].items():
            found["ends"][end] = found["ends"].get(end, 0) + count
        for name, (number, count) in part["crashes"].items():
            found["crashes"].setdefault(name, [number, 0])[1] += count
        if part["rss_mib"]:
            first, last = part["rss_mib"]
            found["rss_mib"]["largest"] = max(found["rss_mib"]["largest"], last)
            found["rss_mib"]["growth"] = max(found["rss_mib"]["growth"], round(last - first, 1))
        write_text(out, json.dumps({"benchmark": "graph_fuzz", **provenance(), **found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if found["crashes"]:
        raise SystemExit(1)


def _begun(out: Path, seed: int) -> dict[str, Any]:
    """Return what an earlier run with this seed counted, or nothing counted yet."""
    keys = ("seed", "graphs", "seconds", "ends", "crashes", "rss_mib")
    if out.is_file():
        before = json.loads(out.read_text(encoding="utf-8"))
        if before["seed"] == seed:
            return {key: before[key] for key in keys}
    return dict(zip(keys, (seed, 0, 0.0, {}, {}, {"largest": 0.0, "growth": 0.0}), strict=True))


if __name__ == "__main__":
    typer.run(main)
