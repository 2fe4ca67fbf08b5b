"""Load on a server of this machine: `python -m benchmarks.serving.load`; the result is cards/results/serve_load.json.

One client first, then many at once, then one again, over the same mix: whole files, ranges and what the caller has
already, of twenty architectures and several seeds. Then a fast reader, alone and beside many that hardly read.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, final

import httpx2
import typer

from benchmarks.provenance import provenance
from paramgen.storage.folder import write_text

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "cards" / "results" / "serve_load.json"
_TINY: Final = "hidden_size=64&intermediate_size=128&num_hidden_layers={}&num_attention_heads=4"
ARCHITECTURES: Final = (
    "timm:test_vit timm:test_resnet timm:test_efficientnet timm:test_byobnet timm:test_convnext timm:test_mambaout "
    "timm:test_nfnet timm:test_vit2 timm:test_vit3 timm:test_vit4 torchvision:squeezenet1_1 torchvision:squeezenet1_0 "
    "torchvision:shufflenet_v2_x0_5 torchvision:mnasnet0_5 torchvision:mobilenet_v3_small torchvision:mnasnet0_75 "
    f"transformers:vit?{_TINY.format(2)} transformers:bert?vocab_size=500&{_TINY.format(3)} "
    f"transformers:llama?vocab_size=500&{_TINY.format(4)} transformers:gpt2?vocab_size=500&n_embd=64&n_layer=3&n_head=4"
).split()
INITS: Final = ("library", "he", "orthogonal", "hypernet")
SEEDS: Final = 5
SLOW_READERS: Final = 32


@final
@dataclass
class Tally:
    """What came of many requests."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    received: int = 0
    wrong: int = 0

    def to_json(self, elapsed: float) -> dict[str, Any]:
        """Return counts, and latencies in milliseconds."""
        ordered = sorted(self.seconds)
        return {
            "requests": len(ordered),
            "statuses": dict(self.statuses),
            "wrong": self.wrong,
            "seconds": round(elapsed, 1),
            "per_second": round(len(ordered) / elapsed, 1),
            "megabytes": round(self.received / 1e6),
            "p50_ms": round(1000 * statistics.median(ordered), 2),
            "p99_ms": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 2),
        }


@final
class Mix:
    """The requests, one after the other, and what is known of their answers."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}

    def asked(self, number: int) -> tuple[str, dict[str, str]]:
        """Return path and headers of a request: of ten, five whole files, three ranges, two that may be had already."""
        arch = ARCHITECTURES[number % len(ARCHITECTURES)].replace("&", "%26").replace("?", "%3F")
        init = INITS[number // len(ARCHITECTURES) % len(INITS)]
        path = f"/v1/weights?arch={arch}&init={init}&seed={number // 7 % SEEDS}"
        etag, size = self._known.get(path, ("", 0))
        kind = number // 3 % 10
        if etag and kind in (3, 6, 9):
            first = number * 7919 % size
            return path, {"Range": f"bytes={first}-{first + 65535}"}
        return path, {"If-None-Match": etag} if etag and kind in (1, 8) else {}

    def judge(self, path: str, headers: dict[str, str], answer: httpx2.Response) -> bool:
        """Remember what a file is, and say whether an answer is as it should be."""
        if answer.status_code == 429:
            return True
        if answer.status_code == 200:
            self._known[path] = answer.headers["etag"], len(answer.content)
        due = 206 if "Range" in headers else 304 if "If-None-Match" in headers else 200
        length = int(answer.headers.get("content-length", 0))
        return answer.status_code == due and (due == 304 or length == len(answer.content))


@contextmanager
def served(**settings: object) -> Iterator[tuple[str, int]]:
    """Run a server of its own; yield its URL and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"port": port, "requests_per_minute": 0, "spool_bytes": 4 * 10**9, **settings}
    environment = {f"PARAMGEN_SERVE_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.DEVNULL) as process:
        try:
            await_ready(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def await_ready(url: str) -> None:
    """Wait until a server answers."""
    for _ in range(600):
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{url}/ready", trust_env=False).status_code == 200:
                return
        time.sleep(0.2)
    raise SystemExit("The server does not answer.")


def resident(process: int) -> float:
    """Return the MiB that a process has in memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


async def load(url: str, mix: Mix, *, clients: int, numbers: range, until: float) -> dict[str, Any]:
    """Let `clients` send the requests of these numbers, each as soon as its last is answered."""
    tally, left = Tally(), iter(numbers)
    limits = httpx2.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def one(client: httpx2.AsyncClient) -> None:
        for number in left:
            if time.monotonic() > until:
                return
            path, headers = mix.asked(number)
            begun = time.perf_counter()
            try:
                answer = await client.get(path, headers=headers)
            except httpx2.TransportError as error:
                tally.statuses[type(error).__name__] += 1
                tally.wrong += 1
                continue
            tally.seconds.append(time.perf_counter() - begun)
            tally.statuses[str(answer.status_code)] += 1
            tally.received += len(answer.content)
            tally.wrong += not mix.judge(path, headers, answer)

    begun = time.monotonic()
    async with httpx2.AsyncClient(base_url=url, timeout=300, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(one(client) for _ in range(clients)))
    return tally.to_json(time.monotonic() - begun)


async def beside_slow_readers(url: str, *, requests: int) -> dict[str, Any]:
    """Time a reader alone, then beside others who ask for a large file and hardly read it."""
    path = "/v1/weights?arch=torchvision:resnet18&init=he"
    async with httpx2.AsyncClient(base_url=url, timeout=300, trust_env=False) as client:

        async def median(seed: int) -> float:
            seconds = []
            for number in range(requests):
                begun = time.perf_counter()
                answer = await client.get(f"/v1/weights?arch=timm:test_vit&init=he&seed={seed + number}")
                answer.raise_for_status()
                seconds.append(time.perf_counter() - begun)
            return round(1000 * statistics.median(seconds), 2)

        await median(10**6)
        alone = await median(2 * 10**6)
        readers = [asyncio.create_task(hardly_read(url, path)) for _ in range(SLOW_READERS)]
        await asyncio.sleep(2)
        beside = await median(3 * 10**6)
        still = sum(not reader.done() for reader in readers)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return {"slow_readers": still, "alone_p50_ms": alone, "beside_p50_ms": beside}


async def hardly_read(url: str, path: str) -> None:
    """Ask for a file and read a little of it, twice a second."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=4096)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        while await reader.read(1024):
            await asyncio.sleep(0.5)
    finally:
        writer.close()


async def measure(clients: int, requests: int, seconds: float) -> dict[str, Any]:
    """Run everything on one server, for at most `seconds` of load."""
    with served() as (url, process):
        mix = Mix()
        begun = time.monotonic()
        warm = len(ARCHITECTURES)
        await load(url, mix, clients=1, numbers=range(warm), until=begun + seconds)
        alone = await load(
            url, mix, clients=1, numbers=range(warm, warm + max(20, requests // 50)), until=begun + seconds
        )
        memory, parts = [resident(process)], []
        first = 10 * warm
        step = max(1, requests // 10)
        for start in range(first, first + requests, step):
            numbers = range(start, min(start + step, first + requests))
            parts.append(await load(url, mix, clients=clients, numbers=numbers, until=begun + seconds))
            memory.append(resident(process))
        last = range(first + requests, first + requests + max(20, requests // 50))
        warm_alone = await load(url, mix, clients=1, numbers=last, until=begun + 2 * seconds)
        slow = await beside_slow_readers(url, requests=max(5, requests // 200))
    together = {"clients": clients, **_joined(parts)}
    return {"first": alone, "together": together, "alone": warm_alone, "rss_mib": memory, "slow": slow}


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    for part in parts:
        statuses.update(part["statuses"])
    total = {name: sum(part[name] for part in parts) for name in ("requests", "wrong", "seconds", "megabytes")}
    worst = {name: max(part[name] for part in parts) for name in ("p50_ms", "p99_ms")}
    return {**total, "statuses": dict(statuses), "per_second": round(total["requests"] / total["seconds"], 1), **worst}


def main(
    clients: Annotated[int, typer.Option(help="At once.")] = 64,
    requests: Annotated[int, typer.Option(help="In all.")] = 10_000,
    seconds: Annotated[float, typer.Option(help="After which no more are sent.")] = 1800,
    out: Annotated[Path, typer.Option(help="The result.")] = RESULT,
) -> None:
    """Measure, print, and write the result; exit with 1 if any answer was wrong."""
    found = asyncio.run(measure(clients, requests, seconds))
    result = {"benchmark": "serve_load", **provenance(), **found}
    write_text(out, json.dumps(result, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    if any(found[part]["wrong"] for part in ("first", "together", "alone")):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
