"""A training that is killed goes on from its last checkpoint, bit for bit; what is there is never lost in silence."""

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file

import paramgen
from paramgen.errors import OutputError
from paramgen.preparation import training

if TYPE_CHECKING:
    from conftest import Command

SIZES = ("n_layer=2", "n_embd=16", "n_head=2", "n_positions=32", "vocab_size=256")  # with dropout, as GPT-2 has
WORDS = ("prepare", "--arch", "gpt2", *(word for size in SIZES for word in ("--set", size)), "--how", "warmup")
OFTEN = """
from paramgen.preparation import training
training.CHECKPOINT_SECONDS = 0.0
"""
KILLED = f"""{OFTEN}
import os, signal
keep = training._keep
def once(*given, count=iter(range(1, 100))):
    keep(*given)
    if next(count) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
training._keep = once
"""


def test_a_killed_command_goes_on_with_the_same_bytes(command: "Command", tmp_path: Path) -> None:
    words = (*WORDS, "--steps", 8, "--batch", 4, "--quiet")
    assert command(*words, "--out", "whole").status == 0
    assert command(*words, "--out", "killed", code=KILLED).status == -signal.SIGKILL
    assert not (tmp_path / "killed").exists() and (tmp_path / ".killed.work" / training.CHECKPOINT).is_file()
    done = command(*words, "--out", "killed", "--json")
    assert done.status == 0, done.err
    assert len(json.loads(done.out)["preparation"]["losses"]) == 8
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    assert not (tmp_path / ".killed.work").exists()


def test_other_work_is_not_lost_in_silence(command: "Command", tmp_path: Path) -> None:
    assert command(*WORDS, "--steps", 8, "--batch", 4, "--out", "f", code=KILLED).status == -signal.SIGKILL
    done = command(*WORDS, "--steps", 9, "--batch", 4, "--out", "f")
    assert "was begun with another 'training'" in done.refusal and "--overwrite" in done.refusal
    (tmp_path / ".f.work" / training.CHECKPOINT).write_bytes(b"rubbish")
    done = command(*WORDS, "--steps", 8, "--batch", 4, "--out", "f")
    assert "cannot be read" in done.refusal and ".f.work" in done.refusal
    assert command(*WORDS, "--steps", 2, "--batch", 4, "--out", "f", "--overwrite", "--quiet").status == 0


def test_progress_is_said(command: "Command") -> None:
    done = command(*WORDS, "--steps", 4, "--batch", 4, "--out", "f")
    assert done.status == 0 and "4/4  step 4, loss " in done.err
    assert "by warmup" in done.out and "4 steps of warmup took the loss from" in done.out


@pytest.mark.parametrize(
    "stored",
    [
        {"other": torch.zeros(2)},
        {"transformer.h.0.ln_1.weight": torch.zeros(3)},
        {"optimizer/nothing.step": torch.zeros(())},
    ],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, gpt2: dict[str, Any], monkeypatch: pytest.MonkeyPatch, stored: dict[str, torch.Tensor]
) -> None:
    def rubbish(file: Path, *others: object) -> None:
        save_file(stored, file, metadata={"course": json.dumps({"done": 1, "losses": [1.0], "seconds": 1.0})})
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "_keep", rubbish)
    with pytest.raises(KeyboardInterrupt):
        paramgen.prepare("gpt2", tmp_path / "f", how="warmup", steps=3, batch=2, overrides=gpt2)
    with pytest.raises(OutputError, match="cannot be read"):
        paramgen.prepare("gpt2", tmp_path / "f", how="warmup", steps=3, batch=2, overrides=gpt2)
