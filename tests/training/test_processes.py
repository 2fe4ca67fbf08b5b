import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from paramgen.errors import OptionError
from tests.conftest import Command, application
from training import checkpoint
from training.processes import requested_processes


def launched(*command: str, cpu: bool = True, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {**os.environ, "OMP_NUM_THREADS": "1", **({"ACCELERATE_USE_CPU": "true"} if cpu else {}), **environment}
    line = [sys.executable, "-m", *command]
    # A group of its own, so that a launcher that hangs takes what it started with it.
    with subprocess.Popen(
        line, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            out, error = process.communicate(timeout=180)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(line, process.returncode, out, error)


def steps(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


ALONE = {"code": application("training"), "alone": True, "ACCELERATE_USE_CPU": "true"}
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "training", "smoke")


def test_what_was_asked_for_is_said_by_the_option_or_the_launcher() -> None:
    assert requested_processes(None, {}) == 1
    assert requested_processes(None, {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}) == 2
    assert requested_processes(3, {"WORLD_SIZE": "2"}) == 3
    with pytest.raises(OptionError, match="started one"):
        requested_processes(None, {"MASTER_ADDR": "127.0.0.1"})
    with pytest.raises(OptionError, match="at least 1"):
        requested_processes(0, {})


@pytest.mark.slow
def test_two_processes_train_what_one_trains(data: Path, tmp_path: Path, command: Command) -> None:
    alone = command("smoke", "--out", tmp_path / "one", "--data", data, **ALONE)
    assert alone.status == 0, alone
    together = launched(*TORCHRUN, "--out", str(tmp_path / "two"), "--data", str(data), "--processes", "2")
    assert together.returncode == 0, together.stderr
    one, two = steps(tmp_path / "one"), steps(tmp_path / "two")
    assert [len(step["loss"]) for step in two] == [1] * 6 + [2] * 6
    # Until networks are shared nothing differs; then sums are added in another order, and the difference grows.
    assert [step["loss"] for step in two[:7]] == [pytest.approx(step["loss"], rel=1e-6) for step in one[:7]]
    assert two[6]["norm"] == pytest.approx(one[6]["norm"], rel=1e-4)
    assert [step["loss"] for step in two] == [pytest.approx(step["loss"], rel=2e-2) for step in one]
    expected, found = (checkpoint.average(tmp_path / name) for name in ("one", "two"))
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_a_run_that_was_not_started_as_asked_stops(data: Path, tmp_path: Path, command: Command) -> None:
    arguments = ("--out", str(tmp_path / "run"), "--data", str(data))
    few = command("smoke", *arguments, "--processes", "2", **ALONE)
    assert few.refusal == (
        "Started processes: 1, requested: 2. "
        f"Type: {'' if torch.cuda.is_available() else 'ACCELERATE_USE_CPU=true '}"
        "torchrun --nproc-per-node 2 -m training ..."
    )
    other = command("smoke", *arguments, ACCELERATE_MIXED_PRECISION="bf16", **ALONE)
    assert "Type: --precision bf16" in other.refusal
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_launcher_that_starts_another_number_stops(data: Path, tmp_path: Path) -> None:
    arguments = ("--out", str(tmp_path / "run"), "--data", str(data))
    many = launched(*TORCHRUN, *arguments, "--processes", "1")
    assert many.returncode != 0 and "error: Started processes: 2, requested: 1. Type: --processes 2" in many.stderr
    silent = launched(
        "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "training", "smoke", *arguments
    )
    assert silent.returncode != 0 and "error: The launcher was to start several processes and started" in silent.stderr
    assert not (tmp_path / "run").exists()
