from dataclasses import replace

import pytest
import torch

from paramgen.errors import OptionError, UnknownNameError
from training.config import DatasetConfig, Objective, Stage
from training.recipes import smoke
from training.window import Window, first_design

OBJECTIVE = Objective()
SMOKE = smoke.config()
CONFIG = replace(
    SMOKE,
    optimization=replace(SMOKE.optimization, steps=6),
    stages=(
        Stage(until=3, objective=OBJECTIVE),
        Stage(until=6, objective=OBJECTIVE, span="wide", renewed=1),
    ),
)


def draws(window: Window, step: int) -> list[object]:
    return [window.draw(step, torch.Generator().manual_seed(seed)) for seed in range(30)]


def test_the_window_stands_still_and_then_moves() -> None:
    assert [first_design(CONFIG, step) for step in (0, 2, 3, 4, 6)] == [0, 0, 0, 1, 3]
    window = Window(CONFIG)
    first = set(draws(window, 0))
    assert first == set(draws(window, 3)) and len(first) == CONFIG.pool
    assert len(first & set(draws(window, 5))) == CONFIG.pool - 2


def test_what_is_drawn_does_not_depend_on_what_was_drawn_before() -> None:
    walked = Window(CONFIG)
    for step in range(5):
        draws(walked, step)
    assert draws(walked, 5) == draws(Window(CONFIG), 5)


def test_the_whole_window_can_be_seen() -> None:
    for step in (0, 5):
        window = Window(CONFIG)
        assert set(window.designs(step)) == set(draws(window, step))


def test_a_recipe_is_refused_for_what_it_misnames() -> None:
    with pytest.raises(UnknownNameError, match="'resnet'"):
        replace(CONFIG, families=("resnets",))
    with pytest.raises(OptionError, match="no name twice"):
        replace(CONFIG, datasets=(DatasetConfig(), DatasetConfig()))


def test_stages_must_reach_the_last_step() -> None:
    with pytest.raises(OptionError, match=r"Stages end at \[3\]"):
        replace(CONFIG, stages=CONFIG.stages[:1])
    with pytest.raises(OptionError, match="must rise"):
        replace(CONFIG, stages=CONFIG.stages[::-1])
