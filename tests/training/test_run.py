import inspect
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image

from paramgen.errors import OptionError, UnknownNameError
from paramgen.hypernets.hypernet import Hypernet
from tests.conftest import Command, application
from tests.support.killing import KILLED
from training import checkpoint, learning
from training.__main__ import main, recipe
from training.config import Config, DatasetConfig, Optimization
from training.export import export
from training.log import Log
from training.loop import MILESTONES, HypernetRun, lr_at
from training.losses import Outcome, descend
from training.recipes.smoke import config as smoke


def started(config: Config, folder: Path, data: Path, *, resume: bool = False) -> HypernetRun:
    return HypernetRun(config, folder, {"images": data}, resume=resume)


def seen(folder: Path) -> list[object]:
    """Everything in the log but the times."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def steps_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.average(folder)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    started(smoke(), folder, data).run(keep_every=6)
    return folder


def test_a_run_logs_every_step_and_evaluates(whole: Path) -> None:
    lines = seen(whole)
    steps = [line["step"] for line in lines if "loss" in line]  # type: ignore[operator,index]
    assert steps == list(range(12))
    evaluations = [line for line in lines if "evaluation" in line]  # type: ignore[operator]
    assert len(evaluations) == 2


def test_resuming_repeats_what_was_lost_and_ends_alike(whole: Path, data: Path, tmp_path: Path) -> None:
    run = started(smoke(), tmp_path / "run", data)
    for _ in range(4):
        run.advance()
    run.save()
    run.advance()  # logged, then lost
    started(smoke(), tmp_path / "run", data, resume=True).run()
    assert seen(tmp_path / "run") == seen(whole)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(tmp_path / "run").items())


@pytest.mark.slow
def test_a_killed_process_resumes_bit_for_bit(whole: Path, data: Path, tmp_path: Path, command: Command) -> None:
    arguments = ["smoke", "--out", str(tmp_path / "run"), "--data", str(data)]
    killed = subprocess.run([sys.executable, "-c", f"{KILLED.format(lines=5)}{application('training')}", *arguments])
    assert killed.returncode == -signal.SIGKILL
    assert len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 5
    done = command(*arguments, "--resume", code=application("training"), alone=True)
    assert done.status == 0, done
    assert seen(tmp_path / "run") == seen(whole)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(tmp_path / "run").items())


def test_a_step_that_is_not_finite_changes_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(smoke(), tmp_path / "run", data)
    before = {name: tensor.clone() for name, tensor in run.hypernet.state_dict().items()}

    def broken(*arguments: Any) -> Outcome:
        outcome = descend(*arguments)
        return replace(outcome, losses=(float("nan"),))

    monkeypatch.setattr(learning, "descend", broken)
    run.advance()
    assert run.skipped == 1 and run.step == 1
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.hypernet.state_dict().items())


def test_a_folder_belongs_to_one_run(whole: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--resume to continue"):
        started(smoke(), whole, data)
    with pytest.raises(OptionError, match="not this recipe"):
        started(replace(smoke(), seed=1), whole, data, resume=True)
    with pytest.raises(OptionError, match="does not exist"):
        started(smoke(), tmp_path / "none", data, resume=True)


def test_what_is_no_config_is_refused_in_one_line(data: Path, tmp_path: Path) -> None:
    for config, message in ((b"[]", "holds no JSON object"), (b"{", "is no JSON"), (b" " * 2**21, "allowed are")):
        (tmp_path / "config.json").write_bytes(config)
        with pytest.raises(OptionError, match=message):
            started(smoke(), tmp_path, data, resume=True)
        with pytest.raises(OptionError, match=message):
            export(tmp_path, tmp_path / "hypernet")


def test_export_writes_what_the_library_reads(whole: Path, tmp_path: Path) -> None:
    export(whole, tmp_path / "hypernet")
    loaded = Hypernet.from_pretrained(tmp_path / "hypernet").state_dict()
    for name, tensor in weights(whole).items():
        assert torch.equal(loaded[name], tensor.to(torch.bfloat16).float())


def test_milestones_are_hypernets_and_the_last_is_what_is_exported(whole: Path, tmp_path: Path) -> None:
    kept = sorted((whole / MILESTONES).iterdir())
    assert [folder.name for folder in kept] == ["000006", "000012"]
    export(whole, tmp_path / "hypernet")
    weights_of = [(folder / "model.safetensors").read_bytes() for folder in (*kept, tmp_path / "hypernet")]
    assert weights_of[0] != weights_of[1] == weights_of[2]


def test_the_command_line_is_frozen() -> None:
    assert list(inspect.signature(main).parameters) == [
        *("name", "out", "data", "resume", "minutes", "keep_every", "processes", "precision")
    ]


def test_the_terminal_says_how_far_and_how_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((1000.0, 1000.5))
    monkeypatch.setattr("training.log.time", SimpleNamespace(monotonic=lambda: next(times)))
    log = Log(tmp_path, step=0, steps=100)
    log.show(0, 2.0, 0.1, skipped=0)
    log.show(1, 1.0, 0.2, skipped=3)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("step 2/100  2.00 steps/s  0:00:49 to go  ")
    assert line.endswith("loss 1.500  accuracy 15.0%  skipped 3")


def test_tensorboard_reads_the_log(whole: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    logged = {line["step"]: sum(line["loss"]) / len(line["loss"]) for line in steps_of(whole)}
    assert {event.step: event.value for event in events.Scalars("loss")} == pytest.approx(logged)
    assert any(tag.startswith("evaluation/") for tag in events.Tags()["scalars"])


def test_one_broken_network_does_not_stop_the_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = smoke()
    run = started(replace(config, stages=(replace(config.stages[1], until=12),)), tmp_path / "run", data)
    before = {name: tensor.clone() for name, tensor in run.hypernet.state_dict().items()}
    calls: list[int] = []

    def broken(*arguments: Any) -> Outcome:
        calls.append(1)
        outcome = descend(*arguments)
        return replace(outcome, losses=(float("nan"),)) if len(calls) == 1 else outcome

    monkeypatch.setattr(learning, "descend", broken)
    run.advance()
    assert len(calls) == 2 and run.skipped == 0
    assert steps_of(tmp_path / "run")[0]["broken"] == 1
    after = run.hypernet.state_dict()
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items())
    assert all(bool(tensor.isfinite().all()) for tensor in after.values())


@pytest.mark.slow
def test_mixed_precision_trains_wide_weights(data: Path, tmp_path: Path) -> None:
    config = smoke()
    narrow = replace(config, optimization=replace(config.optimization, precision="bf16"))
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        run = started(narrow, tmp_path / "run", data)
        for _ in range(2):
            run.advance()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert run.skipped == 0
    assert {tensor.dtype for tensor in run.hypernet.parameters()} == {torch.float32}
    wide = started(config, tmp_path / "wide", data)
    wide.advance()
    first, other = steps_of(tmp_path / "run")[0]["loss"], steps_of(tmp_path / "wide")[0]["loss"]
    assert first != other and first == pytest.approx(other, rel=0.05)


@pytest.mark.slow
def test_a_run_of_several_data_sets_draws_them_in_turn(data: Path, tmp_path: Path) -> None:
    tasks = (DatasetConfig(name="ten", classes=10, share=2.0), DatasetConfig(name="four"))
    four = tmp_path / "four"
    for split in ("train", "test"):
        for number in range(4):
            (four / split / f"{number}").mkdir(parents=True)
            for index in range(16):
                Image.new("RGB", (8, 8), (60 * number, 0, 0)).save(four / split / f"{number}" / f"{index}.png")
    config = replace(smoke(), datasets=tasks)
    run = HypernetRun(config, tmp_path / "run", {"ten": data, "four": four}, resume=False)
    for _ in range(6):
        run.advance()
    assert {line["dataset"] for line in steps_of(tmp_path / "run")} == {"ten", "four"}
    run.save()
    with pytest.raises(OptionError, match="not what the run had"):
        HypernetRun(config, tmp_path / "run", {"ten": data, "four": data}, resume=True)


def test_unknown_recipes_offer_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="first_light"):
        recipe("first_lite")


@pytest.mark.parametrize("name", ["first_light", "smoke"])
def test_recipes_have_a_json_form(name: str) -> None:
    config = recipe(name)
    assert isinstance(config, Config)
    assert json.loads(config.to_json())["hypernet"] == config.hypernet.to_json()


def test_the_learning_rate_warms_up_and_ends_at_the_floor() -> None:
    optimization = Optimization(steps=100, warmup=10, lr=1.0, floor=0.1)
    assert lr_at(0, optimization) == pytest.approx(0.1)
    assert lr_at(10, optimization) == pytest.approx(1.0)
    assert lr_at(100, optimization) == pytest.approx(0.1)
    assert lr_at(100, replace(optimization, schedule="constant")) == 1.0
