"""Target variance rescaling: which weights get their std back, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import paramgen
from paramgen.output.rescaling import stds_of

SIZES: dict[str, Any] = {"n_layer": 1, "n_embd": 32, "n_head": 2, "n_positions": 16, "vocab_size": 40}


def gpt2() -> nn.Module:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=None, eos_token_id=None))


def test_every_matrix_has_the_target_and_nothing_else_changes() -> None:
    model = gpt2()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    factors = paramgen.rescale_(model, 0.01)
    names = [f"transformer.h.0.{part}.weight" for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")]
    assert list(factors) == names
    for name, parameter in model.named_parameters():
        if name in factors:
            assert float(parameter.detach().std()) == pytest.approx(0.01, rel=1e-5)
            assert torch.allclose(parameter, before[name] * factors[name])
        else:  # tables, the output that is tied to one, norms and biases
            assert torch.equal(parameter, before[name])


def test_a_folder_gives_each_matrix_its_initial_std(tmp_path: Path) -> None:
    paramgen.write("gpt2", tmp_path / "start", init="library", overrides=SIZES, verify=False)
    model = paramgen.load(tmp_path / "start")
    wanted = {name: float(each.detach().double().std()) for name, each in model.named_parameters() if each.dim() == 2}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    factors = list(paramgen.rescale_(model, tmp_path / "start").values())
    assert factors == pytest.approx([1 / 3] * 4, rel=1e-4)
    found = stds_of(tmp_path / "start")
    assert found["transformer.h.0.mlp.c_fc.weight"] == pytest.approx(wanted["transformer.h.0.mlp.c_fc.weight"])


def test_frozen_and_constant_matrices_are_left() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].requires_grad_(False)
    nn.init.zeros_(model.get_parameter("1.weight"))
    assert list(paramgen.rescale_(model, 0.5)) == ["2.weight"]
    assert paramgen.rescale_(model, {"2.weight": 0.0}) == {}


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_a_target_that_is_no_std_is_refused(std: float) -> None:
    model = nn.Linear(4, 4)
    before = model.weight.detach().clone()
    with pytest.raises(paramgen.ParamgenError, match="must be a positive number"):
        paramgen.rescale_(model, std)
    assert torch.equal(model.weight, before)


def test_the_folder_of_another_network_is_refused(tmp_path: Path) -> None:
    paramgen.write("gpt2", tmp_path / "start", init="library", overrides=SIZES, verify=False)
    with pytest.raises(paramgen.ParamgenError, match="None of the .* names is a matrix of the module, .*'0.weight'"):
        paramgen.rescale_(nn.Sequential(nn.Linear(4, 4)), tmp_path / "start")
