"""Bars in Python: where somebody sees them and after a while; at once if requested; never with False."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from torch import Tensor, nn

import paramgen
from paramgen.prediction import progress as module


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal shows."""
    heard = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda **options: Console(file=heard, force_terminal=True, width=100))
    return heard


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list["Clock"]:
    """The clocks that were set; they stand still until a test has them ring."""
    clocks: list[Clock] = []

    def timer(seconds: float, call: Callable[[], None]) -> Clock:
        clocks.append(Clock(seconds, call))
        return clocks[-1]

    monkeypatch.setattr(module, "Timer", timer)
    return clocks


class Clock:
    """A `threading.Timer` that rings when it is told to, unless it was cancelled."""

    ident: int | None = None

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self.seconds, self.ring = seconds, call

    def start(self) -> None:
        self.ident = 1

    def cancel(self) -> None:
        self.ring = lambda: None

    def join(self) -> None:
        """Nothing runs."""


def test_a_bar_appears_after_two_seconds_and_not_before(screen: io.StringIO, clock: list[Clock]) -> None:
    with module.reporting(None) as advance:
        assert advance is not None
        advance("predict", 10, 100)
        advance("predict", 20, 100)
        assert not screen.getvalue() and clock[0].seconds == 2.0
        clock[0].ring()
        advance("predict", 50, 100)
    assert "Predicting" in screen.getvalue() and "50%" in screen.getvalue()
    with module.reporting(None):
        """It is done before the clock rings."""
    before = screen.getvalue()
    clock[1].ring()
    assert screen.getvalue() == before


def test_what_traces_for_long_says_so(screen: io.StringIO, clock: list[Clock]) -> None:
    class Slow(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            clock[-1].ring()
            return super().forward(input)

    paramgen.predict(Slow(2, 2), init="he")
    assert "Building and tracing" in screen.getvalue()
    assert [each.ident for each in clock] == [1] and "%" not in screen.getvalue()


def test_a_bar_that_was_requested_appears_at_once(screen: io.StringIO, clock: list[Clock]) -> None:
    with module.reporting(True) as advance:
        assert advance is not None
        advance("predict", 10, 100)
        advance("check", 0, 0)
    assert "Predicting" in screen.getvalue() and "Loading with the library" in screen.getvalue()


def test_false_shows_none(screen: io.StringIO, clock: list[Clock]) -> None:
    for given in (module.reporting(False), module.comparing(False)):
        with given as called:
            assert called is None
    assert not screen.getvalue()


def test_none_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DELAY", 0.0)
    with module.reporting(None) as advance:  # pytest's stderr is no terminal
        assert advance is None


def test_a_notebook_is_looked_at(monkeypatch: pytest.MonkeyPatch, clock: list[Clock]) -> None:
    console = Console(file=io.StringIO(), force_jupyter=True)
    monkeypatch.setattr(module, "Console", lambda **options: console)
    with module.reporting(None) as advance:
        assert advance is not None


def test_a_function_of_ones_own_is_called_as_ever(tmp_path: Path, own: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    paramgen.write(f"{own}:build", tmp_path / "out", init="he", progress=lambda *said: calls.append(said))
    assert calls[-1][0] == "check"


def test_whatever_takes_long_has_one(screen: io.StringIO, tmp_path: Path, own: Path) -> None:
    arch, shown = f"{own}:build", 0
    calls: list[Any] = [
        lambda: paramgen.write(arch, tmp_path / "out", init="he", progress=True),
        lambda: paramgen.create(arch, init="he", progress=True),
        lambda: paramgen.initialize_(nn.Linear(2, 2), init="he", progress=True),
        lambda: paramgen.predict(arch, init="he").state_dict(progress=True),
    ]
    for call in calls:
        call()
        assert screen.getvalue().count("Predicting") > shown
        shown = screen.getvalue().count("Predicting")


def test_texts_are_shown_as_they_are(screen: io.StringIO, clock: list[Clock]) -> None:
    with module.reporting(True) as transferred:
        assert transferred is not None
        transferred("[bold]model[/].safetensors", 5, 10)
    assert "[bold]model[/].safetensors" in screen.getvalue() and "50%" in screen.getvalue()


def test_an_exception_ends_the_bar(screen: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt), module.reporting(True) as advance:
        assert advance is not None
        advance("predict", 1, 100)
        raise KeyboardInterrupt
    assert (
        screen.getvalue().endswith(("\x1b[2K", "\x1b[?25h")) or "\x1b[?25h" in screen.getvalue()
    )  # the cursor is back
