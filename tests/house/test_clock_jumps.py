"""The clock on the wall may be set by a day while something runs: no limit, line or rate looks at it."""

import ast
import time
from pathlib import Path

import pytest

import paramgen
from paramgen.serving.clock import Clock, apart
from serve.access import Access
from serve.problems import Problem
from serve.settings import Settings

ROOT = Path(paramgen.__file__).parents[1]
WALL = {"time", "time_ns", "now", "today", "utcnow"}  # of time and datetime


def wall_clocks(path: Path) -> list[str]:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    attributes = [each for each in calls if isinstance(each, ast.Attribute) and each.attr in WALL]
    return [
        f"{path.relative_to(ROOT)}:{each.lineno}"
        for each in attributes
        if isinstance(each.value, ast.Name) and each.value.id in ("time", "datetime", "date")
        or isinstance(each.value, ast.Attribute) and each.value.attr in ("datetime", "date")
    ]  # fmt: skip


def test_nothing_that_runs_asks_what_time_it_is() -> None:
    files = [path for folder in ("paramgen", "serve", "training") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 100
    assert [found for path in files for found in wall_clocks(path)] == []


def test_the_search_finds_such_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    (tmp_path / "it.py").write_text("import time, datetime\ntime.time()\ndatetime.datetime.now()\ntime.monotonic()\n")
    assert wall_clocks(tmp_path / "it.py") == ["it.py:2", "it.py:3"]


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_limits_hold_while_the_clock_jumps(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    begun = time.time()
    jumps = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: begun + next(jumps) * jump)

    def work(seconds: float) -> int:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.time()
        return 1

    assert apart(Clock(600), lambda: work(1.0)) == 1  # none too early
    with pytest.raises(TimeoutError, match="more than 0.2 seconds"):  # and none too late
        apart(Clock(0.2), lambda: work(600))


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_rate_is_no_other_after_a_jump(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    access = Access(Settings(requests_per_minute=2))
    scope, headers = {"server": ("127.0.0.1", 8000)}, {"host": "localhost"}
    access.admit(scope, headers)
    access.admit(scope, headers)
    now = time.time() + jump
    monkeypatch.setattr(time, "time", lambda: now)
    with pytest.raises(Problem, match="More than 2 requests a minute") as caught:
        access.admit(scope, headers)
    assert 0 < int(caught.value.headers["Retry-After"]) <= 30
