"""An hour of good and bad callers: `python -m benchmarks.serving.mixed_load`; it makes cards/results/serve_mixed.json.

Sixteen clients ask one server of this machine, each as soon as its last request has ended: mostly for small predictions
that nobody asked for before; some for large ones, some leave before they have them, some hardly read, and one in ten is
hostile. A lone client before and after says how long a small prediction takes with nobody in front of it.
"""

import asyncio
import json
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final, final
from urllib.parse import quote

import httpx2
import typer

from benchmarks.provenance import provenance
from benchmarks.serving.generated_graphs import generated
from benchmarks.serving.load import hardly_read, resident, served
from paramgen.storage.folder import write_text

RESULT: Final = Path(__file__).parents[2] / "cards" / "results" / "serve_mixed.json"
SMALL: Final = tuple(
    f"/v1/weights?arch=timm:{name}&init={init}&seed="
    for name in ("test_vit", "test_resnet", "test_efficientnet")
    for init in ("he", "library", "hypernet")
)
LARGE: Final = "/v1/weights?arch=torchvision:squeezenet1_1&init=he&seed="
LARGEST: Final = "/v1/weights?arch=torchvision:resnet18&init=he&seed="
KINDS: Final = {"small": 0.70, "large": 0.06, "leaves": 0.10, "hardly reads": 0.04, "hostile": 0.10}
PATIENCE: Final = 10.0  # seconds, after which a slow reader leaves
SAMPLES: Final = 120
LONE: Final = 100  # requests
WARM: Final = 30  # requests, in which the server imports
AGAIN: Final = 300  # small predictions ago, so that its file may be gone
ALLOWED: Final = 3  # times what a lone client waits, for each place in the line
SPOOL_FILES: Final = 200
"""Kept at most, so that the number of open files has its end within minutes."""
_JSON: Final = {"Content-Type": "application/json"}
_SPLIT: Final[Any] = [
    ["empty.memory_format", [[9_999_999]], {"dtype": {"dtype": "uint8"}}, [0]],
    ["split.Tensor", [], {"self": {"register": 0}, "split_size": 1}, [1]],
]

Client = httpx2.AsyncClient


@final
@dataclass
class Seen:
    """What came of the requests, and of the server."""

    statuses: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    failed: Counter[str] = field(default_factory=Counter)
    small: list[float] = field(default_factory=list)
    since: list[float] = field(default_factory=list)  # the last sample
    digests: dict[str, str] = field(default_factory=dict)
    before: deque[str] = field(default_factory=lambda: deque(maxlen=AGAIN))
    compared: int = 0
    samples: list[dict[str, float]] = field(default_factory=list)
    number: int = 0


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the 99th of a hundred, in milliseconds."""
    ordered = sorted(seconds) or [0.0]
    return {
        "p50_ms": round(1000 * statistics.median(ordered), 1),
        "p99_ms": round(1000 * ordered[ceil(0.99 * len(ordered)) - 1], 1),
    }


async def small(client: Client, seen: Seen, draw: random.Random) -> None:
    """Time a small prediction that is new; now and then ask for an old one, which must have the same bytes."""
    path = f"{draw.choice(SMALL)}{seen.number}"
    seen.number += 1
    began = time.perf_counter()
    content = await _asked(client, seen, "small", path)
    seconds = time.perf_counter() - began
    if content is None:
        return
    seen.small.append(seconds)
    seen.since.append(seconds)
    if len(seen.before) == AGAIN and draw.random() < 0.1:
        old, digest = seen.before[0], seen.digests[seen.before[0]]
        again = await _asked(client, seen, "small", old)
        seen.compared += 1
        if again is not None and sha256(again).hexdigest() != digest:
            seen.failed["other bytes"] += 1
    if len(seen.before) == AGAIN:
        del seen.digests[seen.before.popleft()]
    seen.before.append(path)
    seen.digests[path] = sha256(content).hexdigest()


async def large(client: Client, seen: Seen, draw: random.Random) -> None:
    """Ask for a larger file and read it."""
    await _asked(client, seen, "large", f"{LARGE}{draw.randrange(10**9)}")


async def _asked(client: Client, seen: Seen, kind: str, path: str) -> bytes | None:
    """Return a whole answer, or count what failed."""
    try:
        answer = await client.get(path)
    except httpx2.TransportError as error:
        seen.failed[f"{kind}: {type(error).__name__}"] += 1
        return None
    seen.statuses[kind][str(answer.status_code)] += 1
    if answer.status_code != 200 or len(answer.content) != int(answer.headers["content-length"]):
        seen.failed[f"{kind}: {answer.status_code}"] += 1
        return None
    return answer.content


async def leaves(client: Client, seen: Seen, draw: random.Random) -> None:
    """Ask for a large file, and leave before it is there."""
    try:
        async with asyncio.timeout(0.5 * draw.random()):
            await client.get(f"{LARGEST}{draw.randrange(10**9)}")
    except (TimeoutError, httpx2.TransportError) as error:
        seen.statuses["leaves"][type(error).__name__] += 1


async def slow(client: Client, seen: Seen, draw: random.Random) -> None:
    """Ask for a large file and hardly read it."""
    try:
        async with asyncio.timeout(PATIENCE):
            await hardly_read(str(client.base_url).rstrip("/"), f"{LARGEST}{draw.randrange(3)}")
    except (TimeoutError, OSError) as error:
        seen.statuses["hardly reads"][type(error).__name__] += 1


async def hostile(client: Client, seen: Seen, draw: random.Random) -> None:
    """Send what no honest caller sends; it may be answered or refused, but the server must not fail at it."""
    method, path, content = draw.choice(HOSTILE)(draw)
    try:
        answer = await client.request(method, path, content=content, headers=_JSON)
    except httpx2.TransportError as error:  # as it ends the connection of whom it refuses
        seen.statuses["hostile"][type(error).__name__] += 1
        return
    seen.statuses["hostile"][str(answer.status_code)] += 1
    if answer.status_code >= 500 and answer.status_code != 503:
        seen.failed[f"hostile: {answer.status_code}"] += 1


def _graph(draw: random.Random) -> tuple[str, str, bytes]:
    init = draw.choice(("he", "library", "hypernet", "orthogonal", "mimetic", "lsuv"))
    return "POST", "/v1/predict", json.dumps({"graph": generated(draw), "init": init}).encode()


def _program(draw: random.Random) -> tuple[str, str, bytes]:
    graph = generated(draw)
    for slot in graph["slots"]:
        slot["init_program"] = _SPLIT
    return "POST", "/v1/predict", json.dumps({"graph": graph, "init": "library"}).encode()


def _chain(draw: random.Random) -> tuple[str, str, bytes]:
    graph, count = generated(draw), 19_000
    graph["nodes"] = (graph["nodes"] or [{}])[:1] * count
    graph["edges"] = [[one, one + 1] for one in range(count - 1)]
    return "POST", "/v1/predict", json.dumps({"graph": graph, "init": "hypernet"}).encode()


def _network(draw: random.Random) -> tuple[str, str, bytes]:
    option = draw.choice(
        ("num_labels=1000000000", "num_hidden_layers=1000000", "hidden_size=12000000", "vocab_size=-1")
    )
    return "GET", f"/v1/weights?arch=transformers:bert&set={quote(option)}&init=he", b""


def _name(draw: random.Random) -> tuple[str, str, bytes]:
    name = draw.choice(("../../etc/passwd", "hf-hub:someone/evil", "own.py:build", "\x1b[31m", "x" * 5000))
    return "GET", f"/v1/weights?arch={quote(name)}&init=he", b""


def _body(draw: random.Random) -> tuple[str, str, bytes]:
    content = draw.choice(
        (b"[" * 10**5, b'{"graph": [' + b"[]," * 10**6 + b"[]]}", b"\xff" * 10**6, b'{"arch": "vit_b16"')
    )
    return "POST", "/v1/predict", content


HOSTILE: Final[Sequence[Callable[[random.Random], tuple[str, str, bytes]]]] = (
    *(_graph, _graph, _graph),
    *(_program, _chain, _network, _name, _body),
)
CALLERS: Final[dict[str, Callable[[Client, Seen, random.Random], Awaitable[None]]]] = {
    "small": small,
    "large": large,
    "leaves": leaves,
    "hardly reads": slow,
    "hostile": hostile,
}


async def together(url: str, seen: Seen, *, clients: int, until: float, seed: int) -> None:
    """Let so many clients call until a time."""

    async def one(draw: random.Random) -> None:
        async with Client(base_url=url, timeout=300, trust_env=False) as client:
            while time.monotonic() < until:
                (kind,) = draw.choices(tuple(KINDS), tuple(KINDS.values()))
                await CALLERS[kind](client, seen, draw)

    await asyncio.gather(*(one(random.Random(f"{seed} {number}")) for number in range(clients)))


async def lone(url: str, seen: Seen, draw: random.Random, requests: int = LONE) -> dict[str, float]:
    """Return how long small predictions take with nobody else there."""
    first = len(seen.small)
    async with Client(base_url=url, timeout=300, trust_env=False) as client:
        for _ in range(requests):
            await small(client, seen, draw)
    found = quantiles(seen.small[first:])
    del seen.small[first:]
    seen.since.clear()
    return found


async def watched(process: int, seen: Seen, every: float) -> None:
    """Note memory, open files and latencies now and then, until cancelled."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(every)
        descriptors = len(list(Path(f"/proc/{process}/fd").iterdir()))
        state = {"rss_mib": resident(process), "descriptors": descriptors}
        times = {"minute": round((time.monotonic() - began) / 60, 2), "small": len(seen.since)}
        seen.samples.append({**times, **quantiles(seen.since), **state})
        seen.since.clear()


def growth(values: Sequence[float]) -> float:
    """Return by how much the last quarter of values lies above the second, in the median."""
    quarter = len(values) // 4
    if not quarter:
        return 0.0
    return round(statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter]), 1)


async def measure(url: str, process: int, *, clients: int, minutes: float, seed: int) -> dict[str, Any]:
    """Run everything on one server."""
    seen, draw = Seen(), random.Random(seed)
    await lone(url, seen, draw, WARM)
    before = await lone(url, seen, draw)
    watching = asyncio.create_task(watched(process, seen, minutes * 60 / SAMPLES))
    began = time.monotonic()
    await together(url, seen, clients=clients, until=began + minutes * 60, seed=seed)
    seconds = time.monotonic() - began
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching
    times = quantiles(seen.small)
    after = await lone(url, seen, draw)
    alone = max(before["p99_ms"], after["p99_ms"])
    return {
        "clients": clients,
        "minutes": round(seconds / 60, 1),
        "mix": KINDS,
        "alone": {"before": before, "after": after},
        "small": {"requests": len(seen.small), **times, "allowed_p99_ms": round(ALLOWED * clients * alone, 1)},
        "statuses": {kind: dict(counts) for kind, counts in seen.statuses.items()},
        "failed": dict(seen.failed),
        "compared": seen.compared,
        "rss_growth_mib": growth([sample["rss_mib"] for sample in seen.samples]),
        "descriptors_growth": growth([sample["descriptors"] for sample in seen.samples]),
        "samples": {name: [sample[name] for sample in seen.samples] for name in (seen.samples or [{}])[0]},
    }


def main(
    clients: Annotated[int, typer.Option(help="At once.")] = 16,
    minutes: Annotated[float, typer.Option(help="Of load.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the requests.")] = 0,
    out: Annotated[Path, typer.Option(help="The result.")] = RESULT,
) -> None:
    """Measure, print, and write the result; exit with 1 if an honest request failed, or took longer than allowed."""
    with served(spool_files=SPOOL_FILES) as (url, process):
        found = asyncio.run(measure(url, process, clients=clients, minutes=minutes, seed=seed))
    write_text(out, json.dumps({"benchmark": "serve_mixed", **provenance(), **found}) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "samples"}, indent=1))
    if found["failed"] or found["small"]["p99_ms"] > found["small"]["allowed_p99_ms"]:
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
