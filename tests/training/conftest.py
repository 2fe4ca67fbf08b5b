from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for split, count in (("train", 2), ("test", 7)):
        for number in range(10):
            target = root / split / f"class{number}"
            target.mkdir(parents=True)
            for index in range(count):
                Image.new("RGB", (32, 32), (25 * number, 128, 255 - 25 * number)).save(target / f"{index}.png")
    return root
