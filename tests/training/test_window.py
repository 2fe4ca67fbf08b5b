from dataclasses import replace

import pytest
import torch

from paramgen.errors import OptionError
from training.__main__ import recipe
from training.config import Objective, Stage
from training.window import Window, first_design

OBJECTIVE = Objective()
CONFIG = replace(
    recipe("smoke"),
    stages=(
        Stage(until=5, objective=OBJECTIVE),
        Stage(until=12, objective=OBJECTIVE, span="wide", renewed=2),
    ),
)


def draws(window: Window, step: int) -> list[object]:
    return [window.draw(step, torch.Generator().manual_seed(seed)) for seed in range(30)]


def test_the_window_stands_still_and_then_moves() -> None:
    assert [first_design(CONFIG, step) for step in (0, 4, 5, 6, 12)] == [0, 0, 0, 2, 14]
    window = Window(CONFIG)
    first = set(draws(window, 0))
    assert first == set(draws(window, 5)) and len(first) == CONFIG.pool
    assert len(first & set(draws(window, 7))) == CONFIG.pool - 4
    assert not first & set(draws(window, 11))


def test_what_is_drawn_does_not_depend_on_what_was_drawn_before() -> None:
    walked = Window(CONFIG)
    for step in range(11):
        draws(walked, step)
    assert draws(walked, 11) == draws(Window(CONFIG), 11)


def test_stages_must_reach_the_last_step() -> None:
    with pytest.raises(OptionError, match=r"Stages end at \[5\]"):
        replace(CONFIG, stages=CONFIG.stages[:1])
    with pytest.raises(OptionError, match="must rise"):
        replace(CONFIG, stages=CONFIG.stages[::-1])
