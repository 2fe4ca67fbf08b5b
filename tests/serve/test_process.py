"""`python -m serve` as an operator runs it: started, asked, told to end, and nothing cut."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
def test_a_setting_that_cannot_be_is_said_in_one_line() -> None:
    with process(keys='["my-secret-key"]') as (started, _):
        assert started.wait(120) == 2
        assert started.stderr is not None
        (line,) = started.stderr.read().splitlines()
    assert line.startswith("error: PARAMGEN_SERVE_KEYS: ")
    assert "my-secret-key" not in line
