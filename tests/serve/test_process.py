"""`python -m serve` as an operator runs it: started, asked, told to end, and nothing cut."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

import serve.app

ROOT = Path(serve.app.__file__).parents[1]
Graphs = Callable[..., dict[str, Any]]


@contextmanager
def process(**environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {f"PARAMGEN_SERVE_{name.upper()}": value for name, value in {**environment, "port": str(port)}.items()}
    with subprocess.Popen(
        [sys.executable, "-m", "serve"], cwd=ROOT, env=os.environ | given, stderr=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started, f"http://127.0.0.1:{port}"
        finally:
            started.kill()


def ready(url: str) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if httpx2.get(f"{url}/ready", trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    raise AssertionError("it does not answer")


@pytest.mark.slow
def test_it_ends_when_the_last_answer_is_whole(graphs: Graphs) -> None:
    with process(requests_per_minute="0") as (started, url):
        ready(url)
        body = {"graph": graphs(width=1200, depth=2), "init": "library"}
        client = httpx2.Client(timeout=60, trust_env=False)
        with client, client.stream("POST", f"{url}/v1/predict", json=body) as answer:
            assert answer.status_code == 200
            pieces = answer.iter_raw()
            content = next(pieces)
            started.send_signal(signal.SIGTERM)
            content += b"".join(pieces)
        assert len(content) == int(answer.headers["content-length"])
        assert started.wait(60) in (0, -signal.SIGTERM)
        assert started.stderr is not None
        lines = started.stderr.read().splitlines()
        assert lines and all(line.startswith("{") for line in lines)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the memory of a process cannot be limited here")
def test_a_prediction_that_finds_no_memory_is_a_problem_and_the_server_goes_on(graphs: Graphs) -> None:
    with process(requests_per_minute="0") as (started, url), httpx2.Client(timeout=60, trust_env=False) as client:
        ready(url)
        small = {"graph": graphs(), "init": "library"}
        expected = client.post(f"{url}/v1/predict", json=small).content
        pages = int(Path(f"/proc/{started.pid}/statm").read_text(encoding="utf-8").split()[0])
        most = pages * resource.getpagesize() + 300 * 2**20
        resource.prlimit(started.pid, resource.RLIMIT_AS, (most, most))
        within = {"Range": "bytes=200000000-200000000"}  # of the one matrix of 400 MB
        wide = {"graph": graphs(width=10_000, depth=1), "init": "library"}
        large = client.post(f"{url}/v1/predict", json=wide, headers=within)
        assert (large.status_code, large.headers["retry-after"]) == (503, "5")
        assert large.json()["detail"] == "The server is out of memory. Try again later."
        assert client.post(f"{url}/v1/predict", json=small).content == expected
        assert client.post(f"{url}/v1/predict", json={**small, "seed": 1}).status_code == 200


@pytest.mark.slow
def test_a_setting_that_cannot_be_is_said_in_one_line() -> None:
    with process(keys='["my-secret-key"]') as (started, _):
        assert started.wait(120) == 2
        assert started.stderr is not None
        (line,) = started.stderr.read().splitlines()
    assert line.startswith("error: PARAMGEN_SERVE_KEYS: ")
    assert "my-secret-key" not in line


@pytest.mark.slow
def test_killed_under_load_it_leaves_nothing_behind_and_answers_the_same_after_a_start(
    graphs: Graphs, tmp_path: Path
) -> None:
    bodies = [
        {"graph": graphs(), "init": init, "seed": seed, "as": form}
        for init in ("he", "orthogonal")
        for seed in (0, 1)
        for form in ("weights", "folder")
    ]

    def answers(url: str) -> list[bytes]:
        with httpx2.Client(timeout=60, trust_env=False) as client:
            return [client.post(f"{url}/v1/predict", json=body).content for body in bodies]

    def load(url: str) -> None:
        wide = {"graph": graphs(width=1500, depth=3), "init": "library", "as": "folder"}
        with httpx2.Client(timeout=60, trust_env=False) as client, suppress(httpx2.TransportError):
            for seed in range(1000):
                client.post(f"{url}/v1/predict", json={**wide, "seed": seed})

    settings = {"requests_per_minute": "0", "spool": str(tmp_path)}
    with process(**settings) as (started, url):
        ready(url)
        before = answers(url)
        with ThreadPoolExecutor(4) as pool:
            loads = [pool.submit(load, url) for _ in range(4)]
            until = time.monotonic() + 60
            while not list(tmp_path.iterdir()) and time.monotonic() < until:
                time.sleep(0.01)
            started.kill()
            for each in loads:
                each.result()
    assert list(tmp_path.iterdir())  # a folder was being written
    with process(**settings) as (started, url):
        ready(url)
        assert not list(tmp_path.iterdir())
        assert answers(url) == before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="the memory of a process cannot be limited here")
def test_the_system_refuses_it_memory_beyond_its_limit(graphs: Graphs) -> None:
    settings = {"requests_per_minute": "0", "memory": str(1_200_000_000), "remembered_bytes": "1000000"}
    with process(**settings) as (started, url), httpx2.Client(timeout=60, trust_env=False) as client:
        ready(url)
        bound, _ = resource.prlimit(started.pid, resource.RLIMIT_DATA)
        assert 1_200_000_000 <= bound < 2_500_000_000
        small = {"graph": graphs(), "init": "library"}
        assert client.post(f"{url}/v1/predict", json=small).status_code == 200
        wide = {"graph": graphs(width=12_000, depth=1), "init": "library"}  # one matrix of 576 MB
        large = client.post(f"{url}/v1/predict", json=wide)
        assert large.status_code == 422 and "bytes of memory; at most" in large.json()["detail"]
        assert client.post(f"{url}/v1/predict", json={**small, "seed": 1}).status_code == 200
