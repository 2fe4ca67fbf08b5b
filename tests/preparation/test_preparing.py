"""A preparation writes the ordinary folder, the same bytes each time, and says how it was made."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import paramgen
from paramgen.errors import CheckError, OptionError, UnknownNameError

RESNET = "timm:test_resnet"
EXAMPLE = "2x3x8x8"


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "paramgen.json").read_text())


@pytest.fixture
def warm(tmp_path: Path, gpt2: dict[str, Any]) -> Path:
    options = {"how": "warmup", "steps": 12, "lr": 1e-2, "batch": 4}
    paramgen.prepare("gpt2", tmp_path / "warm", **options, overrides=gpt2, seed=3)  # type: ignore[arg-type]
    return tmp_path / "warm"


def test_a_language_model_keeps_its_blocks_and_returns_its_tables(
    warm: Path, tmp_path: Path, gpt2: dict[str, Any]
) -> None:
    from transformers import AutoModelForCausalLM

    paramgen.write("gpt2", tmp_path / "plain", init="library", overrides=gpt2, seed=3)
    before, after = weights(tmp_path / "plain"), weights(warm)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name.removeprefix("transformer.") for name in same} == {"wte.weight", "wpe.weight"}
    loaded = AutoModelForCausalLM.from_pretrained(warm).state_dict()
    assert torch.equal(loaded["transformer.h.1.mlp.c_fc.weight"], after["transformer.h.1.mlp.c_fc.weight"])
    found = record(warm)["initializer"]["preparation"]
    assert (found["how"], found["steps"], found["options"]) == ("warmup", 12, {"task": "both"})
    assert found["loss"] < found["first_loss"] and found["seconds"] > 0
    assert {entry["rule"] for entry in record(warm)["tensors"].values()} == {"warmup", "library"}
    assert any("Tables of tokens" in remark for remark in record(warm)["remarks"])


def test_the_card_has_the_command_that_makes_the_same_bytes(warm: Path, tmp_path: Path, gpt2: dict[str, Any]) -> None:
    card = (warm / "README.md").read_text()
    (command,) = (line for line in card.splitlines() if line.startswith("paramgen prepare"))
    assert command.endswith("--how warmup --steps 12 --lr 0.01 --batch 4 --out warm") and "--seed 3" in command
    again = tmp_path / "again" / "warm"
    paramgen.prepare("gpt2", again, how="warmup", steps=12, lr=1e-2, batch=4, overrides=gpt2, seed=3)
    for name in ("model.safetensors", "config.json", "README.md"):
        assert (again / name).read_bytes() == (warm / name).read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_an_image_classifier_keeps_all_but_its_output_and_statistics(tmp_path: Path) -> None:
    example: dict[str, Any] = {"example_input": EXAMPLE, "overrides": {"num_classes": 6}}
    paramgen.write(RESNET, tmp_path / "plain", init="library", **example)
    paramgen.prepare(RESNET, tmp_path / "warm", how="warmup:shapes", steps=4, batch=8, **example)
    before, after = weights(tmp_path / "plain"), weights(tmp_path / "warm")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("fc.") or "running" in name or "tracked" in name}
    assert paramgen.check(tmp_path / "warm").loaded_by == "timm"


def test_any_initializer_may_come_first(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    paramgen.prepare("gpt2", tmp_path / "warm", how="warmup", init="orthogonal", steps=1, batch=2, overrides=gpt2)
    assert record(tmp_path / "warm")["init"] == "orthogonal"
    assert set(record(tmp_path / "warm")["by_rule"]) == {"warmup", "library"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("warmupp", "Unknown preparation 'warmupp'. Did you mean 'warmup'"),
        ("warmup:kaleidoscope", "Allowed: automata, both, brackets, fractals, shapes"),
        ("warmup:shapes", "Type: --how warmup:brackets"),
        ("warmup?depth=3", "Unknown option of the preparation 'warmup' 'depth'"),
        ("teacher", "--how teacher learns from data, and none are named"),
        ("distill", "distill needs a trained model"),
        ("guide", "guide needs a network"),
        ("guide:timm:resnet18", "--how"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, gpt2: dict[str, Any], how: str, said: str) -> None:
    with pytest.raises(paramgen.ParamgenError) as caught:
        paramgen.prepare("gpt2", tmp_path / "out", how=how, steps=2, batch=32, overrides=gpt2)
    if how != "guide:timm:resnet18":
        assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert not list(tmp_path.iterdir())


def test_a_constraint_that_training_would_break_is_refused(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    pruned: dict[str, Any] = {"init": "he|prune:magnitude?keep=0.5", "overrides": gpt2}
    with pytest.raises(OptionError, match="init=.he., then") as caught:
        paramgen.prepare("gpt2", tmp_path / "a" / "out", how="warmup", steps=1, batch=2, **pruned)
    assert "this training would change that" in caught.value.message
    assert not list(tmp_path.iterdir())


def test_a_training_that_diverges_leaves_nothing(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="diverged before step .*lr=") as caught:
        paramgen.prepare("gpt2", tmp_path / "a" / "out", how="warmup", lr=1e30, steps=20, batch=4, overrides=gpt2)
    assert "Type: --lr 1e+29" in caught.value.message
    assert not list(tmp_path.iterdir())


def test_data_where_none_are_needed_are_refused(tmp_path: Path, arrays: Any) -> None:
    with pytest.raises(OptionError, match="draws what it learns from"):
        paramgen.prepare(RESNET, tmp_path / "out", how="warmup", data=arrays)


def test_a_folder_of_the_users_is_not_replaced(tmp_path: Path, gpt2: dict[str, Any]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(paramgen.ParamgenError, match="not empty"):
        paramgen.prepare("gpt2", tmp_path / "mine", how="warmup", overrides=gpt2)


def test_what_reads_ahead_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    with pytest.raises(paramgen.ParamgenError, match="causal language model"):
        paramgen.prepare(
            "transformers:bert", tmp_path / "out", how="warmup", overrides=sizes | {"vocab_size": 99}, batch=2
        )


def test_names_are_listed() -> None:
    assert {"warmup", "distill", "teacher", "guide", "supermask", "tickets"} <= set(paramgen.api.names("preparations"))
    with pytest.raises(UnknownNameError):
        paramgen.api.names("preparation")
    assert issubclass(CheckError, paramgen.ParamgenError)
