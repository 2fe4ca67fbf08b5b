"""Many at once: a bounded line, readers who leave or do not read, and nothing that one caller has of another."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor

import paramgen.initializers.library
from serve.limits import Watch
from serve.problems import Problem

Graphs = Callable[..., dict[str, Any]]


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Default weights are not drawn before the event is set; the work is still watched."""
    go = threading.Event()
    draw = paramgen.initializers.library.default_weights

    def slow(slot: Any, seed: int) -> Tensor:
        while not go.wait(0.002):
            torch.zeros(1).add(1)
        return draw(slot, seed)

    monkeypatch.setattr(paramgen.initializers.library, "default_weights", slow)
    yield go
    go.set()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)


def ask(running: Any, body: bytes) -> socket.socket:
    """Send a request and do not read."""
    connection = socket.create_connection(("127.0.0.1", running.port), timeout=120)
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection


def encoded(running: Any, body: dict[str, Any]) -> bytes:
    content: bytes = running.client.build_request("POST", "/", json=body).read()
    return content


def test_the_line_is_bounded_and_who_leaves_frees_a_place(serve: Any, graphs: Graphs, stopped: threading.Event) -> None:
    running = serve(predictions=1, waiting=2)
    body = {"graph": graphs(), "init": "library"}
    for seed in (1, 2, 3, 4):  # planned: from now on each takes one place
        assert running.predict({**body, "seed": seed}, Range="bytes=0-7").status_code == 206
    requested = [ask(running, encoded(running, {**body, "seed": seed})) for seed in (1, 2, 3)]
    until(lambda: running.service.queue.taken == 3)
    refused = running.predict({**body, "seed": 4})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert running.client.get("/ready").status_code == 503
    assert running.client.get("/health").status_code == 200
    for connection in requested:
        connection.close()
    until(lambda: running.service.queue.taken == 0 and running.service.spool.nbytes < 2 * 20_000)
    assert not stopped.is_set()
    stopped.set()
    assert running.predict({**body, "seed": 4}).status_code == 200


def test_a_prediction_that_takes_too_long_ends(serve: Any, graphs: Graphs, stopped: threading.Event) -> None:
    running = serve(seconds=0.5)
    answer = running.predict({"graph": graphs(), "init": "library"})
    assert (answer.status_code, "0.5 seconds" in answer.json()["detail"]) == (503, True)
    until(lambda: running.service.queue.taken == 0 and running.service.spool.nbytes == 0)


@pytest.mark.parametrize("left", [True, False])
def test_pure_python_ends_when_its_reader_leaves_or_its_time_is_up(
    serve: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    def endless(*_: Any) -> None:
        while True:
            pass

    monkeypatch.setattr("serve.service.network_of", endless)
    running = serve(predictions=1, seconds=1000 if left else 0.3)
    requested = ask(running, encoded(running, {"graph": graphs(), "init": "he"}))
    until(lambda: running.service.queue.taken == 1)
    if left:
        requested.close()
    else:
        assert requested.recv(100).startswith(b"HTTP/1.1 503 ")
        requested.close()
    until(lambda: running.service.queue.taken == 0)
    monkeypatch.undo()
    assert running.predict({"graph": graphs(), "init": "he"}).status_code == 200


def test_what_an_ended_prediction_leaves_set_for_its_thread_is_gone_with_it(
    serve: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []

    def noted(*_: Any) -> None:
        names.append(str(threading.get_ident()) + threading.current_thread().name)
        raise Problem(422, f"{len(torch.overrides._get_current_function_mode_stack())} modes")

    running = serve(predictions=1)
    monkeypatch.setattr("serve.service.network_of", noted)
    for _ in range(3):
        assert running.predict({"graph": graphs(), "init": "he"}).json()["detail"] == "1 modes"
    assert all(name.endswith("prediction") for name in names)
    until(lambda: not any(thread.name == "prediction" for thread in threading.enumerate()))


def test_readers_who_do_not_read_hold_no_thread(serve: Any, graphs: Graphs) -> None:
    running = serve(predictions=1, waiting=40, idle_seconds=1, body_seconds=2)
    wide = {"graph": graphs(width=1200, depth=2), "init": "library"}  # more than the sockets' buffers hold
    assert running.predict(wide, Range="bytes=0-7").status_code == 206
    content = encoded(running, wide)
    slow = [ask(running, content) for _ in range(32)]
    fast = running.predict({"graph": graphs(), "init": "library", "seed": 5})
    assert fast.status_code == 200
    until(lambda: running.service.queue.taken == 0)
    spooled = next(iter(running.service.spool._shared.values()))
    until(lambda: spooled.readers == 0)  # all were given up
    assert sum(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in slow) == 32
    for connection in slow:
        connection.close()


def test_readers_share_one_prediction(serve: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve(predictions=2)
    body = {"graph": graphs(), "init": "library", "seed": 6}
    running.predict(body, Range="bytes=0-7")
    drawn: list[str] = []
    draw = paramgen.initializers.library.default_weights

    def noted(slot: Any, seed: int) -> Tensor:
        drawn.append(slot.name)
        return draw(slot, seed)

    monkeypatch.setattr(paramgen.initializers.library, "default_weights", noted)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: running.predict(body).content, range(16)))
    assert len(set(answers)) == 1
    assert len(drawn) == len(set(drawn))


def test_many_callers_get_their_own(serve: Any, graphs: Graphs) -> None:
    running = serve(predictions=2, waiting=300)
    requested = [
        {"graph": graphs(width=width), "init": init, "seed": seed}
        for width in (8, 12)
        for init in ("he", "orthogonal")
        for seed in (0, 1)
    ]
    alone = [running.predict(body).content for body in requested]
    fresh = serve(predictions=2, waiting=300, spool_bytes=200_000)
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda number: fresh.predict(requested[number % 8]).content, range(80)))
    assert together == [alone[number % 8] for number in range(80)]
    assert fresh.service.spool.nbytes <= 200_000


def test_what_does_not_fit_the_spool_is_told_to_come_back(serve: Any, graphs: Graphs) -> None:
    running = serve(spool_bytes=1000)
    answer = running.predict({"graph": graphs(), "init": "he"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert running.predict({"graph": graphs(), "init": "he"}, Range="bytes=0-20").status_code == 206


@pytest.fixture
def descriptors() -> Iterator[None]:
    """A thousand connections have two ends in this process."""
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2500:
        pytest.skip("too few files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, 2500), most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (least, most))


def test_of_a_thousand_silent_connections_the_newest_are_kept(serve: Any, graphs: Graphs, descriptors: None) -> None:
    running = serve(connections=100)
    silent = [socket.create_connection(("127.0.0.1", running.port), timeout=120) for _ in range(1000)]
    assert running.predict({"graph": graphs(), "init": "he"}).status_code == 200  # nobody has to wait for them
    dropped, kept = silent[:801], silent[801:]
    for connection in kept:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert all(connection.recv(1000).startswith(b"HTTP/1.1 200") for connection in kept)
    for connection in dropped:
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    for connection in silent:
        connection.close()


def test_more_requests_than_there_is_room_for(serve: Any, graphs: Graphs, stopped: threading.Event) -> None:
    running = serve(predictions=1, connections=3)
    body = {"graph": graphs(), "init": "library", "seed": 7}
    assert running.predict(body, Range="bytes=0-7").status_code == 206
    assert running.client.get("/health").status_code == 200  # by then the first request has left
    requested = [ask(running, encoded(running, body)) for _ in range(3)]
    until(lambda: sum(spooled.readers for spooled in running.service.spool._shared.values()) == 3)
    refused = running.predict(body)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert running.client.get("/health").status_code == 200
    stopped.set()
    assert all(connection.recv(100).startswith(b"HTTP/1.1 200") for connection in requested)
    for connection in requested:
        connection.close()


def test_a_watch_ends_work_in_tensors() -> None:
    watch = Watch(0.05)
    with pytest.raises(Problem, match="0.05 seconds"), watch:
        while True:
            torch.zeros(2).add_(1)
    watch = Watch(1000)
    watch.cancel()
    with pytest.raises(Exception), watch:  # noqa: B017 - of its own kind
        torch.zeros(2)


def test_bodies_are_bounded_together(serve: Any, graphs: Graphs) -> None:
    running = serve(bodies=200_000, body_seconds=20)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: 900000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as slow:
        slow.sendall(head + b" " * 190_000)
        until(lambda: running.service.bodies.nbytes == 190_000)
        refused = running.client.post(
            "/v1/predict", content=b" " * 100_000, headers={"Content-Type": "application/json"}
        )
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert running.predict({"graph": graphs(), "init": "he"}).status_code == 200  # small ones always fit
    until(lambda: running.service.bodies.nbytes == 0)


def test_a_large_body_is_read_once(serve: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    running = serve()
    body = {"graph": graphs(depth=40), "init": "he"}
    assert len(encoded(running, body)) > 10_000
    first = running.predict(body)
    monkeypatch.setattr("serve.service.json_of", lambda *_: pytest.fail("it was parsed"))
    again = running.predict(body)
    assert first.status_code == again.status_code == 200 and first.content == again.content


def test_a_watch_sees_the_operations_of_draws() -> None:
    watch = Watch(1000)
    watch.cancel()
    with pytest.raises(Exception), watch:  # noqa: B017 - of its own kind
        torch.ops.aten.zeros.default([2])
