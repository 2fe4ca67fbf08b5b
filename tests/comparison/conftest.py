"""Small data: pictures whose class is their colour, and a text that repeats itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40), "green": (50, 190, 60)}


def drawn(folder: Path, count: int, *, size: int = 16) -> None:
    """Write `count` noisy pictures of each colour."""
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(np.array(colour) + noise.normal(0, 60, (size, size, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03}.png")


@pytest.fixture
def draw() -> Callable[[Path, int], None]:
    return drawn


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    drawn(folder / "train", 12)
    drawn(folder / "val", 6)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "poem.txt"
    file.write_text("the owl and the pussycat went to sea in a beautiful pea-green boat\n" * 60, encoding="utf-8")
    return file
