"""Memory of the service: `python -m benchmarks.serving.memory`; the result is cards/results/serve_memory.json.

Workers that have each predicted with the hypernet that ships, by the share that each has of the pages of all. Then a
thousand connections, silent at first, then all asking, and what the server keeps of them.
"""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import httpx2
import typer

from benchmarks.provenance import provenance
from benchmarks.serving.load import await_ready, resident, served
from paramgen.storage.folder import write_text
from paramgen.storage.pretrained import pretrained_folder

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "cards" / "results" / "serve_memory.json"
WEIGHTS: Final = str(pretrained_folder("vision") / "model.safetensors")
WORKERS: Final = (1, 2, 4)
CONNECTIONS: Final = 1000
ROUNDS: Final = 5
ASKED: Final = "/v1/weights?arch=timm:test_vit&init=hypernet:vision&seed={}"


@contextmanager
def workers(count: int) -> Iterator[tuple[str, list[int]]]:
    """Run the application in so many processes of uvicorn; yield the URL and the processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "serve.app:create_app", "--port", str(port)]
    command += ["--workers", str(count), "--log-level", "warning"]
    environment = os.environ | {"PARAMGEN_SERVE_REQUESTS_PER_MINUTE": "0"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            await_ready(f"http://127.0.0.1:{port}")
            yield f"http://127.0.0.1:{port}", serving(process.pid) if count > 1 else [process.pid]
        finally:
            process.terminate()


def serving(parent: int) -> list[int]:
    """Return the workers among a process's children."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="utf-8").split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def mapped(process: int) -> dict[str, int]:
    """Return the kB that a process has of the hypernet's file, by kind of page; nothing before it has mapped it."""
    found: Counter[str] = Counter()
    inside = False
    for line in Path(f"/proc/{process}/smaps").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            inside = line.endswith(WEIGHTS)
        elif inside and name in ("Rss:", "Pss:", "Private_Dirty:"):
            found[name.rstrip(":")] += int(rest.split()[0])
    return dict(found)


def proportional(process: int) -> float:
    """Return the MiB of a process, each page divided by the number of processes that have it."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024, 1)


def shared(count: int) -> dict[str, Any]:
    """Have every one of so many workers predict, and measure them."""
    with workers(count) as (url, processes):
        end = time.monotonic() + 300
        seed = 0
        with ThreadPoolExecutor(2 * count) as pool:
            while not all(map(mapped, processes)):
                if time.monotonic() > end:
                    raise SystemExit("Some worker is never asked.")
                list(pool.map(partial(ask, url), range(seed, seed + 2 * count)))
                seed += 2 * count
        files = [mapped(process) for process in processes]
        return {
            "workers": count,
            "pss_mib": [proportional(process) for process in processes],
            "rss_mib": [resident(process) for process in processes],
            "hypernet_kb": {kind: sum(file[kind] for file in files) for kind in files[0]},
        }


def ask(url: str, seed: int) -> None:
    """Predict over a connection of its own, which any worker may take."""
    httpx2.get(url + ASKED.format(seed), timeout=120, trust_env=False).raise_for_status()


async def crowd(url: str) -> dict[str, Any]:
    """Open a thousand connections, ask from a new one while they are silent, then from all, and count answers."""
    host, _, port = url.removeprefix("http://").partition(":")
    opened = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS)]
    begun = time.perf_counter()
    async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        (await client.get(ASKED.format(0))).raise_for_status()
    milliseconds = round(1000 * (time.perf_counter() - begun), 1)
    answers = await asyncio.gather(*(_asked(*one) for one in opened))
    return {"beside_silent_ms": milliseconds, "answers": dict(Counter(answers))}


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    try:
        writer.write(f"GET {ASKED.format(0)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        return answer[9:12].decode()
    except ConnectionError as error:
        return type(error).__name__
    finally:
        writer.close()


def crowded() -> dict[str, Any]:
    """Let a thousand connections come and go, some times."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with served() as (url, process):
        ask(url, 0)
        memory, rounds = [resident(process)], []
        for _ in range(ROUNDS):
            rounds.append(asyncio.run(crowd(url)))
            time.sleep(1)
            memory.append(resident(process))
        left = len(list(Path(f"/proc/{process}/fd").iterdir()))
    return {"connections": CONNECTIONS, "rounds": rounds, "rss_mib": memory, "descriptors_after": left}


def main(out: Annotated[Path, typer.Option(help="The result.")] = RESULT) -> None:
    """Measure, print, and write the result."""
    found = {"workers": [shared(count) for count in WORKERS], "crowd": crowded()}
    result = {"benchmark": "serve_memory", **provenance(), **found}
    write_text(out, json.dumps(result, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
