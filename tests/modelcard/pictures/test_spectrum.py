"""Singular values over their rank: exact for small matrices, and close to it for large ones."""

import pytest
import torch

from paramgen.modelcard.pictures.spectrum import RANKS, SMALL_SIDE, spectrum


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(101, 101), (40, 101), (300, 101)])
def test_a_small_matrix_is_decomposed(shape: tuple[int, int]) -> None:
    matrix = drawn(*shape)
    values = torch.linalg.svdvals(matrix.double())
    found = spectrum(matrix)
    assert found is not None and found.shape == (RANKS,)
    scale = float(values.square().mean().sqrt())
    assert torch.allclose(found[[0, 50, -1]] * scale, values[[0, (len(values) - 1) // 2, -1]], rtol=0.02, atol=0.02)
    assert bool((found.diff() <= 1e-9).all())


@pytest.mark.parametrize("shape", [(SMALL_SIDE + 100, SMALL_SIDE + 100), (SMALL_SIDE + 50, 1200)])
def test_of_a_large_one_few_products_tell_the_same(shape: tuple[int, int]) -> None:
    matrix = drawn(*shape)
    matrix[0] *= 20  # one direction that is stretched much more than the others
    values = torch.linalg.svdvals(matrix.double())
    ranks = torch.linspace(0, len(values) - 1, RANKS).long()
    expected = values[ranks] / values.square().mean().sqrt()
    found = spectrum(matrix)
    assert found is not None
    assert float((found[5:] - expected[5:]).abs().max()) < 0.08
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=0.01)


@pytest.mark.parametrize("shape", [(SMALL_SIDE + 88, SMALL_SIDE + 88), (20, 30), (1, 700)])
def test_an_orthogonal_matrix_is_flat(shape: tuple[int, int]) -> None:
    matrix = torch.linalg.qr(drawn(*shape[::-1]))[0].T
    found = spectrum(3 * matrix)
    assert found is not None and torch.allclose(found, torch.ones(RANKS, dtype=torch.float64), atol=1e-4)


def test_what_has_no_spectrum() -> None:
    assert spectrum(torch.zeros(5, 5)) is None
    assert spectrum(torch.full((5, 5), torch.nan)) is None
