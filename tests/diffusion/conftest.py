import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def copied(pipeline_folder: Path, tmp_path: Path) -> Callable[[], Path]:
    """Return a copy of the folder that a test may spoil."""

    def copy() -> Path:
        return Path(shutil.copytree(pipeline_folder, tmp_path / "copy"))

    return copy
