"""Where and with what a comparison is made: commit, device, versions."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import torch

from paramgen.comparison.outcome import Environment

_PACKAGES: Final = (
    *("paramgen", "torch", "accelerate", "numpy", "scipy", "transformers", "timm", "torchvision", "diffusers"),
)


def environment_of(device: torch.device) -> Environment:
    """Return what a comparison on `device` is made with."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return Environment(
        commit=_commit(),
        device=device.type,
        processor=name,
        threads=torch.get_num_threads(),
        versions={"python": platform.python_version(), **_versions()},
    )


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit of paramgen's own checkout; None where it was installed from a wheel."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        try:
            done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return ""
        return done.stdout.strip()

    if not git("ls-files", "--error-unmatch", str(here.parent / "__init__.py")):
        return None
    return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", str(here.parent)) else "")
