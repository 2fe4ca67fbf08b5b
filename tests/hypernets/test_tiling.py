import pytest
import torch

from paramgen.hypernets.tiling import cropped, fit_table, fit_vector, repeated


@pytest.mark.parametrize("size", [1, 3, 4, 5, 8, 11])
def test_vectors_are_cropped_or_start_over(size: int) -> None:
    assert fit_vector(torch.arange(4.0), size).tolist() == [float(index % 4) for index in range(size)]


@pytest.mark.parametrize("shape", [(2, 3, 3, 3), (7, 3, 1, 3), (4, 9, 2, 2), (11, 10, 3, 2)])
def test_kernels_keep_their_centre_and_repeat_their_channels(shape: tuple[int, int, int, int]) -> None:
    raw = torch.randn(4, 3, 3, 3)
    fitted = repeated(cropped(raw, shape), *shape[:2])
    assert fitted.shape == shape
    top, left = 3 // 2 - shape[2] // 2, 3 // 2 - shape[3] // 2
    for out in range(shape[0]):
        for inputs in range(shape[1]):
            expected = raw[out % 4, inputs % 3, top : top + shape[2], left : left + shape[3]]
            assert torch.equal(fitted[out, inputs], expected)


def test_small_kernels_are_resized() -> None:
    raw = torch.ones(2, 2, 3, 3)
    torch.testing.assert_close(cropped(raw, (2, 2, 7, 7)), torch.ones(2, 2, 7, 7))
    assert cropped(raw, (2, 2, 1, 9)).shape == (2, 2, 1, 9)


@pytest.mark.parametrize("tokens", [9, 10, 11])
def test_position_tables_keep_the_start_of_extra_tokens(tokens: int) -> None:
    raw, default = torch.randn(1, 4, 3, 3), torch.randn(1, tokens, 6)
    table = fit_table(raw, default)
    assert torch.equal(table[:, : tokens - 9], default[:, : tokens - 9])
    for token in range(9):
        expected = raw[0, [0, 1, 2, 3, 0, 1], token // 3, token % 3]
        assert torch.equal(table[0, tokens - 9 + token], expected)
