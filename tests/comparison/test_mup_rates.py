"""`compare --lr mup`: learning rates by layer are those of muP's table, the same for every initialization."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paramgen
from paramgen.comparison import Pixels, Protocol
from paramgen.comparison.comparing import compare
from paramgen.comparison.models import model_under_test
from paramgen.comparison.mup_rates import LrFactors, mup_factors, parameter_groups
from paramgen.comparison.protocol import LEARNING_RATES, parse_lr
from paramgen.errors import OptionError

GPT2 = "gpt2?n_layer=1&n_embd=32&n_head=2&n_positions=16&vocab_size=50"
SMALL: dict[str, Any] = {"steps": 2, "seeds": 1, "lr": (1e-2,), "batch": 8, "evaluations": 1}
EXAMPLE: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 3, 8, 8),), {})


def network(width: int = 16) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, width), nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 2))


@pytest.fixture
def arrays() -> tuple[Pixels, Pixels]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    given = Pixels(pixels=pixels, labels=torch.arange(40) % 2)
    return given, given


def test_hidden_and_output_matrices_have_base_over_fan_in() -> None:
    found = mup_factors(model_under_test(GPT2 + "&tie_word_embeddings=false", "text", 50), 16).by_slot
    block = "transformer.h.0."
    assert found == {
        f"{block}attn.c_attn.weight": 0.5,
        f"{block}attn.c_proj.weight": 0.5,
        f"{block}mlp.c_fc.weight": 0.5,
        f"{block}mlp.c_proj.weight": 16 / 128,
        "lm_head.weight": 0.5,
    }
    tied = mup_factors(model_under_test(GPT2, "text", 50), 16).by_slot
    assert set(found) - set(tied) == {"lm_head.weight"}  # a table is an input, and its learning rate stays


def test_what_reads_the_input_and_depthwise_convolutions_keep_their_learning_rate() -> None:
    def build() -> nn.Module:
        layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 2)]
        return nn.Sequential(*layers)

    assert mup_factors(model_under_test(("own", build), "images", 2, example=EXAMPLE), 64).by_slot == {
        "2.weight": 8.0,
        "4.weight": 1.0,
    }


def test_the_optimizer_s_groups_have_their_factor_and_a_decay_that_stays() -> None:
    module = network()
    groups = parameter_groups(module, LrFactors({"3.weight": 0.25}).by_parameter(module), decay=0.01)
    assert [group["lr_factor"] for group in groups] == [1.0, 0.25]
    assert [group["weight_decay"] for group in groups] == [0.01, 0.04]
    assert groups[1]["params"] == [module[3].weight]  # type: ignore[index]
    assert sum(len(group["params"]) for group in groups) == 6


def test_a_step_of_training_has_the_learning_rates(arrays: Any) -> None:
    """AdamW's first step is its learning rate for each weight with a gradient, whatever its size."""
    seen: list[list[torch.Tensor]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if not images.is_meta and type(images) is torch.Tensor:
                seen.append([each.detach().clone() for each in self.parameters() if each.dim() == 2])
            return self.layers(images)

    options = SMALL | {"steps": 1, "warmup": 0.0, "schedule": "constant", "decay": 0.0, "lr": "mup:1e-2?base=4"}
    compare(("own", Spy), arrays, ("library",), Protocol(**options), example_input=EXAMPLE)
    moved = [float((after - before).abs().max()) for before, after in zip(seen[-4], seen[-1], strict=True)]
    assert moved == pytest.approx([1e-2, 1e-2 / 4, 1e-2 / 4], rel=1e-2)


def test_at_the_base_it_is_the_same_training(arrays: Any) -> None:
    plain, other = (
        compare(("own", network), arrays, ("library",), Protocol(**SMALL | {"lr": lr}), example_input=EXAMPLE)
        for lr in (1e-2, "mup:1e-2?base=16")
    )
    one, two = (each.architectures[0].initializations[0].best for each in (plain, other))
    assert one is not None and two is not None and one.curve == two.curve
    assert "mup_base" not in plain.settings and other.settings["mup_base"] == 16


def test_settings_and_report_say_so(photos: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"out": tmp_path / "out", "example_input": torch.zeros(2, 3, 16, 16), "init": "library"}
    arch = ("own", lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.Linear(16, 3)))
    paramgen.compare(arch, str(photos), **given, **SMALL | {"lr": "mup:1e-2?base=64"})
    for file in ("table.md", "index.html"):
        text = (tmp_path / "out" / file).read_text(encoding="utf-8")
        assert "multiplied by 64 / fan-in" in text and "the learning rates of 1 matrices of own" in text
    with pytest.raises(paramgen.ParamgenError, match=r"other settings \(mup_base: 64 there, None now\)"):
        paramgen.compare(arch, str(photos), **given, **SMALL)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(images.flatten(2).transpose(1, 2).reshape(-1, 8, 24))[0][:, -1])


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), "none was found in own. Give all weights the same"),
        (Recurrent, "own has recurrent weights, such as lstm.weight"),
    ],
)
def test_networks_without_such_matrices_are_refused(build: Any, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        mup_factors(model_under_test(("own", build), "images", 2, example=EXAMPLE), 64)
    assert "\n" not in str(caught.value) and "--lr 3e-4" in caught.value.message


def test_what_may_be_typed() -> None:
    assert parse_lr("1e-3,2e-3") == ((1e-3, 2e-3), None)
    assert parse_lr("mup") == (LEARNING_RATES, 256)
    assert parse_lr("mup:1e-3,2e-3?base=64") == ((1e-3, 2e-3), 64)
    for typed, said in (
        ("mup?base=x", "a whole number from 1"),
        ("mup?width=3", "allowed is a base"),
        ("mup:quick", "is no list of numbers"),
        ("mop", "is no list of numbers"),
    ):
        with pytest.raises(OptionError, match=said):
            parse_lr(typed)
    with pytest.raises(OptionError, match="allowed are 1 to 1,000,000"):
        Protocol(lr="mup?base=0")
