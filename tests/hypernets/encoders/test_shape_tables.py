import pytest

from paramgen.hypernets.encoders.shape_tables import as_kernel, channel_row, channel_sizes, spatial_row, spatial_sizes


def test_tables_have_the_published_number_of_sizes() -> None:
    assert len(channel_sizes((1000,))) == 391
    assert len(channel_sizes((10, 32000, 50257, 128256))) == 394
    assert spatial_sizes(16) == (1, 3, 5, 7, 9, 11, 13, 14, 15, 16)
    assert spatial_sizes(11) == (1, 3, 5, 7, 9, 11, 14, 16)


@pytest.mark.parametrize(
    ("size", "stands_for"),
    [
        (1, 1),
        (2, 1),
        (3, 3),
        (4, 8),
        (7, 8),
        (8, 8),
        (12, 8),
        (13, 16),
        (72, 64),
        (73, 80),
        (4111, 4096),
        (10**6, 8192),
    ],
)
def test_channels_take_the_nearest_size_of_two_the_smaller(size: int, stands_for: int) -> None:
    sizes = channel_sizes(())
    assert sizes[channel_row(size, sizes)] == stands_for


@pytest.mark.parametrize(("size", "stands_for"), [(1, 1), (2, 3), (4, 3), (6, 5), (14, 14), (16, 16), (32, 16)])
def test_kernels_take_the_nearest_size_of_two_the_smaller(size: int, stands_for: int) -> None:
    sizes = spatial_sizes(16)
    assert sizes[spatial_row(size, sizes)] == stands_for


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((7,), (7, 1, 1, 1)),
        ((7, 5), (7, 5, 1, 1)),
        ((1, 197, 768), (1, 768, 14, 14)),
        ((1, 1, 768), (1, 1, 768, 1)),
        ((8, 4, 3), (8, 4, 3, 1)),
        ((8, 4, 2, 3, 5), (8, 4, 3, 5)),
    ],
)
def test_every_shape_has_four_sizes(shape: tuple[int, ...], kernel: tuple[int, ...]) -> None:
    assert as_kernel(shape) == kernel
