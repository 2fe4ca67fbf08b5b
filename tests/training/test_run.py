import inspect
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from paramgen.errors import OptionError, UnknownNameError
from paramgen.hypernets.hypernet import Hypernet
from training import checkpoint, loop
from training.__main__ import main, recipe
from training.config import Optimization
from training.export import export
from training.loop import Run, rate_at
from training.losses import Outcome


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for split, count in (("train", 2), ("test", 7)):
        for number in range(10):
            place = root / split / f"class{number}"
            place.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (25 * number, 128, 255 - 25 * number)).save(place / f"{index}.png")
    return root


def seen(folder: Path) -> list[object]:
    """Everything in the log but the times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.average(folder)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    Run(recipe("smoke"), folder, data, resume=False).run()
    return folder


def test_a_run_logs_every_step_and_judges(whole: Path) -> None:
    lines = seen(whole)
    steps = [line["step"] for line in lines if "loss" in line]  # type: ignore[call-overload,operator,index]
    assert steps == list(range(12))
    judged = [line for line in lines if "judged" in line]  # type: ignore[operator]
    assert len(judged) == 2


def test_resuming_repeats_what_was_lost_and_ends_alike(whole: Path, data: Path, tmp_path: Path) -> None:
    run = Run(recipe("smoke"), tmp_path / "run", data, resume=False)
    for _ in range(4):
        run._advance()
    run.save()
    run._advance()  # logged, then lost
    Run(recipe("smoke"), tmp_path / "run", data, resume=True).run()
    assert seen(tmp_path / "run") == seen(whole)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(tmp_path / "run").items())


@pytest.mark.slow
def test_a_killed_process_resumes_bit_for_bit(whole: Path, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "smoke", "--out", str(tmp_path / "run"), "--data", str(data)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not log.exists() or len(log.read_text().splitlines()) < 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(log.read_text().splitlines()) < 14
    subprocess.run([*command, "--resume"], check=True, stderr=subprocess.DEVNULL)
    assert seen(tmp_path / "run") == seen(whole)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(tmp_path / "run").items())


def test_a_step_that_is_not_finite_changes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(recipe("smoke"), tmp_path / "run", data, resume=False)
    before = {name: tensor.clone() for name, tensor in run.hypernet.state_dict().items()}
    honest = loop.descend

    def broken(*arguments: Any) -> Outcome:
        outcome = honest(*arguments)
        return replace(outcome, losses=(float("nan"),))

    monkeypatch.setattr(loop, "descend", broken)
    run._advance()
    assert run.skipped == 1 and run.step == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.hypernet.state_dict().items())


def test_a_folder_belongs_to_one_run(whole: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--resume to continue"):
        Run(recipe("smoke"), whole, data, resume=False)
    with pytest.raises(OptionError, match="not this recipe"):
        Run(replace(recipe("smoke"), seed=1), whole, data, resume=True)
    with pytest.raises(OptionError, match="does not exist"):
        Run(recipe("smoke"), tmp_path / "none", data, resume=True)


def test_export_writes_what_the_library_reads(whole: Path, tmp_path: Path) -> None:
    export(whole, tmp_path / "hypernet")
    loaded = Hypernet.from_pretrained(tmp_path / "hypernet").state_dict()
    for name, tensor in weights(whole).items():
        assert torch.equal(loaded[name], tensor.to(torch.bfloat16).float())


def test_the_command_line_is_frozen() -> None:
    assert list(inspect.signature(main).parameters) == ["name", "out", "data", "resume", "minutes"]


def test_unknown_recipes_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="first_light"):
        recipe("first_lite")


@pytest.mark.parametrize("name", ["first_light", "smoke"])
def test_recipes_have_a_json_form(name: str) -> None:
    assert json.loads(recipe(name).to_json())["hypernet"] == recipe(name).hypernet.to_json()


def test_the_rate_warms_up_and_ends_at_the_floor() -> None:
    optimization = Optimization(steps=100, warmup=10, rate=1.0, floor=0.1)
    assert rate_at(0, optimization) == pytest.approx(0.1)
    assert rate_at(10, optimization) == pytest.approx(1.0)
    assert rate_at(100, optimization) == pytest.approx(0.1)
    assert rate_at(100, replace(optimization, schedule="constant")) == 1.0
