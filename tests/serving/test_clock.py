"""Work that is ended: between tensors, in pure Python, again if it was swallowed, but never within an import."""

import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from paramgen.serving.clock import Clock, apart


def forever() -> None:
    while True:
        pass


def test_pure_python_is_ended_when_the_time_is_up() -> None:
    with pytest.raises(TimeoutError, match="more than 0.05 seconds"):
        apart(Clock(0.05), forever)


def test_pure_python_is_ended_for_the_reason_given() -> None:
    clock = Clock(1000)
    threading.Timer(0.05, clock.end, (LookupError("nobody reads"),)).start()
    with pytest.raises(LookupError, match="nobody reads"):
        apart(clock, forever)


def test_libraries_that_catch_every_exception_of_theirs_do_not_take_it_for_one() -> None:
    def built() -> None:
        try:
            while True:
                torch.zeros(1).add(1)
        except Exception as error:
            raise ValueError("a configuration is wrong") from error

    with pytest.raises(TimeoutError):
        apart(Clock(0.05), built)


def test_whoever_swallows_it_gets_it_again() -> None:
    swallowed: list[type[BaseException]] = []

    def stubborn() -> None:
        while True:
            try:
                forever()
            except BaseException as error:
                if swallowed:
                    raise
                swallowed.append(type(error))

    with pytest.raises(TimeoutError):
        apart(Clock(0.05), stubborn)
    assert len(swallowed) == 1


def test_an_import_is_whole_before_work_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end:\n    pass\nwhole = True\n"
    (tmp_path / "slowly_imported.py").write_text(slow, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        import slowly_imported  # noqa: F401

        forever()

    with pytest.raises(TimeoutError):
        apart(Clock(0.05), work)
    assert sys.modules.pop("slowly_imported").whole


def test_what_is_done_in_time_is_never_ended() -> None:
    for _ in range(200):
        with Clock(0.005) as clock:
            result = sum(range(1000))
        assert result == 499500
    time.sleep(0.7)  # nothing is under way to this thread
    assert clock.look(time.monotonic()) is False


def test_work_that_was_ended_before_it_began_does_not_begin() -> None:
    clock = Clock(1)
    clock.end(LookupError("gone"))
    with pytest.raises(LookupError), clock:
        pytest.fail("it began")
