"""Position tables of vision transformers."""

import pytest
import torch

from paramgen.graphs.analysis.positions import _grid, grids_of, sinusoids
from paramgen.prediction import prepare


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (196, (224, 224), ((14, 14), 0)),
        (197, (224, 224), ((14, 14), 1)),
        (198, (224, 224), ((14, 14), 2)),
        (129, (128, 256), ((8, 16), 1)),
        (211, (224, 224), None),
    ],
)
def test_a_grid_has_the_proportions_of_the_image(
    tokens: int, size: tuple[int, int], grid: tuple[tuple[int, int], int] | None
) -> None:
    assert _grid(tokens, *size) == grid


def test_tables_of_vision_and_of_nothing_else() -> None:
    vit = prepare("timm:test_vit", init="library")
    assert grids_of(vit.graph, vit.architecture.manifest) == {"pos_embed": ((10, 10), 1)}
    for arch, overrides in (("gpt2", {"n_layer": 1, "n_embd": 32, "n_head": 2}), ("timm:test_resnet", {})):
        other = prepare(arch, init="library", overrides=overrides)
        assert grids_of(other.graph, other.architecture.manifest) == {}


def test_neighbours_are_more_alike_than_strangers() -> None:
    table = sinusoids(4, 6, 32)
    assert table.shape == (24, 32)
    likeness = (table @ table[0]).view(4, 6)
    assert torch.equal(likeness[0].argsort(descending=True)[:3], torch.tensor([0, 1, 2]))
    assert float(likeness[0, 1]) == pytest.approx(float(likeness[1, 0]), rel=1e-5)
