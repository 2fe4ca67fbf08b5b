"""Memory that requests share: what does not fit waits or is told to come back, and the newest work makes room."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import serve.memory
from paramgen.serving.clock import Clock
from serve.memory import Memory, limit_of, taken
from serve.problems import Problem
from serve.recent import Recent, size_of
from serve.settings import Settings

Graphs = Callable[..., dict[str, Any]]
GIGA = 2**30


def test_predictions_wait_for_each_others_memory() -> None:
    memory = Memory(Settings(memory=8 * GIGA, remembered_bytes=GIGA))
    assert memory.one is not None
    order: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def first() -> None:
        with memory.reserved(memory.one or 0, Clock(9)):
            inside.set()
            go.wait()
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    threading.Timer(0.1, go.set).start()
    with memory.reserved(GIGA, Clock(9)):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_who_waits_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.memory, "_PATIENCE", 0.05)
    memory = Memory(Settings(memory=8 * GIGA))
    with memory.reserved(8 * GIGA, Clock(9)):
        with pytest.raises(Problem) as refused, memory.reserved(GIGA, Clock(9)):
            pytest.fail("both fit")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "5")
    with memory.reserved(GIGA, Clock(9)):
        pass


def test_near_the_limit_the_newest_work_ends_and_nothing_begins() -> None:
    memory = Memory(Settings(memory=taken() // 2))
    memory.refuse_more()  # nothing works: what the process has, it always has
    older, newer = Clock(9), Clock(9)
    with memory.reserved(1, older), memory.reserved(0, newer):
        memory.look()
        assert older.reason is None and isinstance(newer.reason, Problem) and newer.reason.status == 503
        memory.look()  # it gets some time to give its memory back
        assert older.reason is None
        with pytest.raises(Problem, match="out of memory"):
            memory.refuse_more()
        assert memory.short
    assert not memory.short


def test_the_operators_limit_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.memory, "machine_memory", lambda: 10 * GIGA)
    assert limit_of(Settings(memory=3 * GIGA)) == 3 * GIGA
    assert limit_of(Settings()) == 8 * GIGA
    monkeypatch.setattr(serve.memory, "machine_memory", lambda: None)
    assert limit_of(Settings()) is None and Memory(Settings()).one is None


def test_a_prediction_beyond_the_setting_is_refused_before_it_is_made(serve: Any, graphs: Graphs) -> None:
    running = serve(prediction_memory=200_000_000)
    assert running.predict({"graph": graphs(), "init": "he"}).status_code == 200
    refused = running.predict({"graph": graphs(width=3000, depth=1), "init": "orthogonal"})
    assert refused.status_code == 422
    assert "at most 200,000,000 are given to one" in refused.json()["detail"]
    assert running.service.spool.files == 1


def test_what_is_remembered_is_bounded_for_all_and_for_each() -> None:
    kept: Recent[str] = Recent(100, 50)
    for number in range(10):
        kept.put(number, "mine", 10, "me")
    assert kept.nbytes == 50 and kept.get(4) is None and kept.get(5) == "mine"
    kept.put("other", "his", 40, "him")
    kept.put("more", "hers", 40, "her")
    assert kept.nbytes <= 100 and kept.get("other") == "his"  # what was used longest ago went, whose it was or not
    kept.put("large", "mine", 51, "me")
    assert kept.get("large") is None
    kept.put("other", "again", 10, "him")
    assert kept.get("other") == "again" and kept.nbytes <= 100
    kept.clear()
    assert kept.nbytes == len(kept) == 0


def test_sizes_count_each_object_once_and_stop_early() -> None:
    shared = ["x" * 1000]
    assert 1000 < size_of([shared, shared], most=10**6) < 2000
    assert size_of([[] for _ in range(10**5)], most=10**4) < 20_000 + 8 * 10**5
    assert size_of([int, sum, threading], most=10**6) < 300


def test_a_large_network_is_not_remembered_and_small_ones_are(serve: Any, graphs: Graphs) -> None:
    running = serve(remembered_bytes=300_000)
    for seed in range(20):
        assert running.predict({"graph": graphs(depth=2 + seed), "init": "he"}).status_code == 200
    networks = running.service._networks
    assert 0 < len(networks) < 20 and networks.nbytes <= 150_000
    large = graphs()
    large["layout"]["config"] = {"much": [[] for _ in range(20_000)]}
    before = len(networks)
    assert running.predict({"graph": large, "init": "he"}).status_code == 200
    assert len(networks) == before
