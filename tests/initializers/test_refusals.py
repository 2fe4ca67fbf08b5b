"""What the closed-form initializers refuse, as a user meets it: one line, before anything is built."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

import paramgen
from paramgen.initializers import initializer_of

if TYPE_CHECKING:
    from conftest import Command


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("he:both", "mode is 'both'. Allowed: fan_in and fan_out"),
        ("he?distribution=cauchy", "Allowed: normal and uniform"),
        ("xavier:laplace", "Allowed: uniform and normal"),
        (
            "orthogonal?gain=0",
            "gain is 0. Allowed: auto, or a number above 0, up to 1,000. Type: --init 'orthogonal?gain=1.0'",
        ),
        ("orthogonal?gain=true", "gain is True"),
        ("orthogonal:big", "gain is 'big'"),
        ("orthogonal?convolutions=round", "Allowed: flat and delta"),
        ("idinit?tau=-1", "tau is -1. Allowed: a number from 0 to 1,000"),
        ("idinit?epsilon=NaN", "epsilon is nan"),
        ("idinit?convolutions=tap", "Allowed: patch and channel"),
        ("mimetic?alpha1=much", "alpha1 is 'much'. Allowed: a number"),
        ("mimetic?positions=1", "positions is 1. Allowed: true and false"),
        ("lsuv?batch=1", "batch is 1. Allowed: 2 to 4096"),
        ("lsuv?data=2024", "data is 2024. Allowed: a folder of images"),
        ("lsuv?base=lsuv", "base is 'lsuv'. Allowed: another initializer"),
        ("lsuv?base=lsuv?batch=2", "base is 'lsuv?batch=2'. Allowed: another initializer"),
        ("lsuv?base=statistix", "statistix"),
        ("lsuv:nowhere", "There is no folder 'nowhere'"),
        ("lsuv:.", "holds no image"),
        (
            "weight_selection",
            "needs a larger model. Type: --init weight_selection:FOLDER_FILE_OR_REPO",
        ),
        ("weight_selection:nowhere", "There is no folder or file 'nowhere'"),
        ("weight_selection:org/nowhere", "No larger model 'org/nowhere'"),
        ("weight_selection:.", "is no larger model: There is no safetensors file"),
        ("weight_selection:.?layers=last", "Allowed: first and uniform"),
        ("weight_selection?head=1", "head is 1. Allowed: true and false"),
        ("grow", "grow needs a smaller model. Type: --init grow:FOLDER_OR_REPO"),
        ("grow:nowhere", "There is no folder or file 'nowhere'"),
        ("transplant:.", "transplant needs the new tokenizer"),
        ("transplant:.?tokenizer=3", "tokenizer is 3. Allowed: a folder or a repository"),
        (
            "scaled?std=0",
            "std is 0. Allowed: a number above 0, up to 1,000. Type: --init 'scaled?std=0.02'",
        ),
        ("lir?exact=1", "exact is 1. Allowed: true and false"),
        ("lir:NaN", "std is 'NaN'"),
        ("mup?base=0", "base is 0. Allowed: a whole number from 1"),
        ("mup?queries=half", "Allowed: zero and drawn"),
        ("hypernet?rest=zeros", "rest is 'zeros'. Allowed: library and statistics"),
        ("statistics:nowhere.json", "There is no file 'nowhere.json'. Type: --init statistics"),
        ("unigram?base=7", "base is 7. Allowed: a text"),
        ("statistics?path=3", "path is 3. Allowed: a JSON file. Type: --init statistics:FILE"),
        ("cai?noise=-1", "noise is -1. Allowed: a number from 0"),
        ("cai?spectrum=odd", "Allowed: real and hermitian"),
        ("rezero?by=half", "Allowed: auto, gate, norm, weight and fixup"),
        ("eoc?bias=11", "bias is 11. Allowed: a number from 0 to 10"),
        ("eoc?basis=round", "Allowed: normal and orthogonal"),
        ("natural?sigma=0", "sigma is 0. Allowed: a number from 0.01 to 10"),
        ("natural?convolutions=some", "Allowed: depthwise and all"),
        ("impulse?kernel=2", "kernel is 2. Allowed: an odd number from 1 to 15"),
        ("impulse?scale=0", "scale is 0. Allowed: a number above 0"),
        ("mimetic?mlp_mean=much", "mlp_mean is 'much'. Allowed: a number"),
        ("maxout?rank=1", "rank is 1. Allowed: 2 to 1,000, or 0"),
        ("s4d:quad", "kind is 'quad'. Allowed: lin, inv, legs, real, ptd"),
        ("s4d?dt_min=1", "dt_min and dt_max are 1 and 0.1. Allowed: two numbers above 0"),
        ("s4d?perturbation=1", "perturbation is 1. Allowed: a number from 1e-8 to 0.1"),
        ("topology?degree=both", "Allowed: target and source"),
        ("arithmetic?add=(", "which is no regular expression"),
        ("optimistic?value=NaN", "value is nan. Allowed: a number"),
        ("optimistic?weights=all", "Allowed: library and zero"),
        ("inherit:nowhere/at/all", "no folder or file 'nowhere/at/all'"),
        ("inherit:x?noise=-1", "noise is -1. Allowed: a number from 0 to 10"),
        ("inherit:x?noise=true", "noise is True. Allowed: a number from 0 to 10"),
        ("inherit:x?head=2", "head is 2. Allowed: true and false"),
        ("inherit:x?arch=3", "arch is 3. Allowed: a text"),
    ],
)
def test_options_out_of_range(spec: str, message: str, command: "Command") -> None:
    done = command("predict", "--arch", "timm:test_vit", "--init", spec, "--out", "start")
    assert message in done.refusal


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        ("orthogonal?gain=1e308", "float32"),
        ("scaled?std=1e39", "float32"),
        ("mimetic?alpha1=-1e300", "float32"),
        ("idinit?tau=1e200", "float32"),
        ("mup?base=1" + "0" * 400, "float32"),
        ("mup?base=1000000&std=1000", "float16"),
    ],
)
def test_options_that_make_weights_overflow(spec: str, dtype: str, command: "Command", tmp_path: Path) -> None:
    done = command("predict", "--arch", "timm:test_vit", "--init", spec, "--dtype", dtype, "--out", "start")
    assert "Allowed: " in done.refusal or "values that float16 cannot hold" in done.refusal
    assert not (tmp_path / "start").exists()


@pytest.mark.parametrize(
    "spec",
    [
        *("eoc?bias=0", "eoc?bias=10", "eoc?moment=1000", "natural?sigma=0.01", "natural?curvature=10", "cai?noise=0"),
        *("idinit?tau=1000", "mimetic?alpha1=-1000", "optimistic?value=-1000", "optimistic?value=1000"),
        *("scaled?std=1000", "orthogonal?gain=1000", "mup?base=1", "lsuv?batch=2", "lsuv?batch=4096"),
    ],
)
def test_the_bounds_that_a_refusal_names_are_allowed(spec: str) -> None:
    option, _, value = spec.partition("?")[2].partition("=")
    assert getattr(initializer_of(spec), option) == float(value)


def test_infinities_that_a_library_means_are_kept() -> None:
    from torch import nn

    class Masked(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    assert paramgen.predict(Masked(), init="he").state_dict()["mask"].isinf().sum() == 6
