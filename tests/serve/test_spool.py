"""Files of the spool: bounded by number and by descriptors, evicted before either runs out."""

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.connections import descriptors

Graphs = Callable[..., dict[str, Any]]


def test_hundreds_of_different_small_requests_change_nothing(serve: Any, graphs: Graphs) -> None:
    running = serve(spool_files=8)
    body = {"graph": graphs(), "init": "he"}
    first = running.predict({**body, "seed": 0}).content
    open_then = len(os.listdir("/proc/self/fd"))
    answers = {running.predict({**body, "seed": seed}).status_code for seed in range(1, 150)}
    assert answers == {200}
    assert running.service.spool.files <= 8
    assert len(os.listdir("/proc/self/fd")) <= open_then + 10
    assert running.client.get("/ready").status_code == 200
    assert running.predict({**body, "seed": 0}).content == first


@pytest.fixture
def few() -> Iterator[None]:
    """Only some more files may be open in this process."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


def test_where_too_many_files_are_open_idle_ones_make_room(serve: Any, graphs: Graphs, few: None) -> None:
    running = serve()
    running.service.spool._most_files = 10**6  # as if others had taken the descriptors
    body = {"graph": graphs(), "init": "he"}
    answers = [running.predict({**body, "seed": seed}) for seed in range(140)]
    assert {answer.text for answer in answers if answer.status_code != 200} == set()


def test_the_share_of_files_follows_the_systems_limit(few: None) -> None:
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (564, most))
    assert descriptors() == 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


def test_ready_says_when_nothing_can_be_served(
    serve: Any, graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(spool=tmp_path)
    assert running.client.get("/ready").status_code == 200
    with monkeypatch.context() as patched:
        patched.setattr("serve.spool._LEAST", 2**62)
        answer = running.client.get("/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "The disk is full.")
    with monkeypatch.context() as patched:
        patched.setattr(type(running.service.memory), "short", True)
        answer = running.client.get("/ready")
    assert (answer.status_code, answer.json()["detail"], answer.headers["retry-after"]) == (
        503,
        "Memory is short.",
        "5",
    )
    running.service.spool._most_files = 0
    answer = running.client.get("/ready")
    assert (answer.status_code, answer.json()["detail"]) == (503, "As many files are read as may be open.")
    refused = running.predict({"graph": graphs(), "init": "he", "seed": 3})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
