"""The folder of what comes with the wheel: hypernets and pipelines, one folder each."""

from importlib.resources import files
from pathlib import Path


def pretrained_folder(name: str = "") -> Path:
    """Return the folder of one of them, whether or not it is there; without a name, the folder that holds all."""
    return Path(str(files("paramgen"))) / "pretrained" / name
