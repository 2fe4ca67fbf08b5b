"""`compare --rescale-every`: matrices get their std back in training, for every initialization alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.comparison import Pixels, Protocol
from paramgen.comparison.comparing import compare

EXAMPLE: tuple[tuple[Any, ...], dict[str, Any]] = ((torch.zeros(2, 3, 8, 8),), {})
OPTIONS: dict[str, Any] = {"steps": 4, "seeds": 1, "lr": (1e-1,), "batch": 8, "evaluations": 1, "warmup": 0.0}


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 2))


def stds_at_the_end(**options: Any) -> tuple[list[float], list[float]]:
    """Return the stds of both matrices in the initial weights and when the trained network is tested."""
    seen: list[list[float]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = network()

        def forward(self, images: Tensor) -> Tensor:
            if not images.is_meta and type(images) is Tensor:
                seen.append([float(each.detach().std()) for each in self.parameters() if each.dim() == 2])
            return self.layers(images)

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 8, 8), generator=generator, dtype=torch.uint8)
    data = Pixels(pixels=pixels, labels=torch.arange(40) % 2)
    compare(("own", Spy), (data, data), ("he",), Protocol(**OPTIONS, **options), example_input=EXAMPLE)
    first = next(stds for stds in seen if stds[0] > 0.05)  # he's, not those of the constructor
    return first, seen[-1]


def test_matrices_end_with_the_std_of_their_initial_weights() -> None:
    first, last = stds_at_the_end(rescale_every=2)
    assert last == pytest.approx(first, rel=1e-5)
    first, last = stds_at_the_end()
    assert last != pytest.approx(first, rel=0.05)


def test_it_happens_after_as_many_steps_as_were_requested() -> None:
    first, last = stds_at_the_end(rescale_every=3)  # and one step more
    assert last != pytest.approx(first, rel=1e-3)


def test_one_target_for_all() -> None:
    assert stds_at_the_end(rescale_every=4, rescale_std=0.01)[1] == pytest.approx([0.01, 0.01], rel=1e-5)


def test_settings_and_report_say_so(photos: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"out": tmp_path / "out", "example_input": torch.zeros(2, 3, 16, 16), "init": "library"}
    arch = ("own", lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 16), nn.Linear(16, 3)))
    paramgen.compare(arch, str(photos), **given, **OPTIONS, rescale_every=2, rescale_std=0.01)
    for file in ("table.md", "index.html"):
        text = (tmp_path / "out" / file).read_text(encoding="utf-8")
        assert "After every 2 steps each matrix was rescaled to the std 0.01 (target variance rescaling" in text
    with pytest.raises(paramgen.ParamgenError, match=r"rescale_every: 2 there, None now"):
        paramgen.compare(arch, str(photos), **given, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rescale_every": 0}, "rescale_every is 0; allowed are 1 to"),
        ({"rescale_std": 0.01}, "rescale_std is 0.01; .* together with rescale_every"),
        ({"rescale_every": 5, "rescale_std": -1.0}, "rescale_std is -1.0; allowed are numbers above 0"),
        ({"rescale_every": 5, "rescale_std": float("nan")}, "rescale_std is nan"),
    ],
)
def test_what_is_out_of_range_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(paramgen.ParamgenError, match=said):
        Protocol(**options)
