"""Mutated requests: `python -m benchmarks.serving.fuzz`; the result is cards/results/serve_fuzz.json.

Graphs of small networks, and the bodies that carry them, are changed at random: values of every kind anywhere, parts
left out, doubled and swapped, bytes flipped. Each must be answered or refused in one line; what raises anything else is
kept. Most are read in this process, some are sent to a server of its own; neither may grow.
"""

import copy
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import httpx2
import typer

import paramgen
from benchmarks.provenance import provenance
from benchmarks.serving.load import resident, served
from paramgen.errors import ParamgenError
from paramgen.graphs.graph_json import graph_to_json
from paramgen.storage.folder import write_text
from serve.orders import network_of, order_of
from serve.problems import Problem
from serve.reading import json_of
from serve.schemas import PredictRequest, validated
from serve.settings import Settings

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "cards" / "results" / "serve_fuzz.json"
INITS: Final = ("library", "he", "orthogonal", "mimetic", "idinit", "xavier", "hypernet", "auto")
HOSTILE: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 10**12, 10**30, 0.5, -0.0, 1e308, "", "x", "\x00", "\u202e"),
    *("../../etc/passwd", "__class__", "a\r\nb", "ｗeight", "é" * 300, "9" * 5000, [], {}, [[]], [0] * 9, [10**9] * 8),
    *({"r": 0}, {"": None}, [[0, 0]], "normal_.default", "linear", "float64", "complex64", "bool"),
)
_NETWORK: Final = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 8)
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.head.weight

    def forward(self, images):
        tokens = self.norm(self.stem(images)).relu().flatten(2).mT
        return self.tied(self.head(self.mix(tokens, tokens, tokens)[0].mean(1)))

def build():
    return Network()
"""


def graph() -> dict[str, Any]:
    """Return the graph of a small network with most kinds of layers."""
    import torch

    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.py"
        file.write_text(_NETWORK, encoding="utf-8")
        found = paramgen.graph(f"{file}:build", example_input=torch.zeros(2, 3, 6, 6))
    read: dict[str, Any] = json.loads(graph_to_json(*found))
    return read


def mutated(body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Return a body that was changed in one to three places."""
    found = copy.deepcopy(body)
    for _ in range(draw.choice((1, 1, 2, 3))):
        holder, key = _place(found, draw)
        _CHANGES[draw.randrange(len(_CHANGES))](holder, key, draw)
    return found


def _place(value: Any, draw: random.Random) -> tuple[Any, Any]:
    """Return a dictionary or list somewhere below `value` and a key of it."""
    holder, key = value, draw.choice(list(value))
    while isinstance(holder[key], (dict, list)) and holder[key] and draw.random() < 0.85:
        holder = holder[key]
        key = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))
    return holder, key


def _replace(holder: Any, key: Any, draw: random.Random) -> None:
    holder[key] = copy.deepcopy(draw.choice(HOSTILE))


def _shift(holder: Any, key: Any, draw: random.Random) -> None:
    value = holder[key]
    holder[key] = value + draw.choice((-1, 1, 7, 10**6)) if type(value) in (int, float) else str(value)[::-1]


def _drop(holder: Any, key: Any, draw: random.Random) -> None:
    del holder[key]
    if not holder and isinstance(holder, list):
        holder.append(draw.choice(HOSTILE))


def _double(holder: Any, key: Any, draw: random.Random) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[f"{key}_"] = copy.deepcopy(holder[key])


def _swap(holder: Any, key: Any, draw: random.Random) -> None:
    other = draw.choice(list(holder)) if isinstance(holder, dict) else draw.randrange(len(holder))
    holder[key], holder[other] = holder[other], holder[key]


_CHANGES: Final[tuple[Callable[[Any, Any, random.Random], None], ...]] = (
    _replace,
    _replace,
    _shift,
    _drop,
    _double,
    _swap,
)


def flipped(body: bytes, draw: random.Random) -> bytes:
    """Return the bytes with a few of them changed, cut or doubled."""
    found = bytearray(body)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(found))
        change = draw.randrange(3)
        if change == 0:
            found[at] = draw.randrange(256)
        elif change == 1:
            del found[at : at + draw.randint(1, 30)]
        else:
            found[at:at] = found[at : at + draw.randint(1, 30)]
        found = found or bytearray(b"{")
    return bytes(found)


def body_of(plain: dict[str, Any], draw: random.Random) -> bytes:
    """Return the next body to try."""
    body = mutated({**plain, "init": draw.choice(INITS), "seed": draw.randrange(3)}, draw)
    content = json.dumps(body).encode()
    return flipped(content, draw) if draw.random() < 0.2 else content


def attempt(body: bytes, settings: Settings) -> str:
    """Do what the server does with a body, up to the first tensors; return how it ended."""
    try:
        asked: PredictRequest = validated(PredictRequest, json_of(body, settings.max_depth, settings.max_values))
        network = network_of(asked.arch, asked.overrides, asked.graph, settings)
        order = order_of(network, asked, settings)
        if order.prediction.architecture.manifest.elements < 10**5:
            for _ in order.prediction:
                pass
    except ParamgenError as error:
        return "lines" if "\n" in str(error) else "refused"
    except Problem as problem:
        return f"refused {problem.status}"
    return "answered"


def in_process(plain: dict[str, Any], count: int, seed: int, until: float) -> dict[str, Any]:
    """Try `count` bodies here."""
    draw, ends, settings = random.Random(seed), Counter[str](), Settings(seconds=30)
    kept: dict[str, str] = {}
    memory: list[float] = []
    for number in range(count):
        if time.monotonic() > until:
            break
        body = body_of(plain, draw)
        try:
            ends[attempt(body, settings)] += 1
        except Exception as error:  # what must not be
            name = f"{type(error).__name__}: {error}"[:200]
            ends["crash"] += 1
            kept.setdefault(name, body.decode(errors="replace")[:20_000])
        if number % max(1, count // 10) == 0:
            memory.append(resident(os.getpid()))
    return {"bodies": ends.total(), "ends": dict(ends), "crashes": kept, "rss_mib": memory}


def over_http(plain: dict[str, Any], count: int, seed: int, until: float) -> dict[str, Any]:
    """Send `count` bodies to a server; some ask for the folder."""
    draw, statuses = random.Random(seed), Counter[str]()
    kept: dict[str, str] = {}
    memory: list[float] = []
    with served() as (url, process), httpx2.Client(base_url=url, timeout=120, trust_env=False) as client:
        for number in range(count):
            if time.monotonic() > until:
                break
            body = body_of({**plain, "as": draw.choice(("weights", "folder"))}, draw)
            try:
                status = client.post(
                    "/v1/predict", content=body, headers={"Content-Type": "application/json"}
                ).status_code
            except httpx2.TransportError as error:
                statuses[type(error).__name__] += 1
                kept.setdefault(type(error).__name__, body.decode(errors="replace")[:20_000])
                continue
            statuses[str(status)] += 1
            if status == 500:
                kept.setdefault("500", body.decode(errors="replace")[:20_000])
            if number % max(1, count // 10) == 0:
                memory.append(resident(process))
    return {"bodies": statuses.total(), "statuses": dict(statuses), "crashes": kept, "rss_mib": memory}


def main(
    count: Annotated[int, typer.Option(help="Bodies to read in this process.")] = 200_000,
    http: Annotated[int, typer.Option(help="Bodies to send to a server.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
    seconds: Annotated[float, typer.Option(help="After which no more are tried, of each kind.")] = 1800,
    out: Annotated[Path, typer.Option(help="The result.")] = RESULT,
) -> None:
    """Try, print, and write the result; exit with 1 if anything but an answer or a refusal came."""
    plain = {"graph": graph()}
    here = in_process(plain, count, seed, time.monotonic() + seconds)
    there = over_http(plain, http, seed + 1, time.monotonic() + seconds)
    found = {"in_process": here, "http": there}
    write_text(out, json.dumps({"benchmark": "serve_fuzz", **provenance(), **found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if here["crashes"] or there["crashes"] or "lines" in here["ends"]:
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
