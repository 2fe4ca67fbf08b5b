"""Write what the container installs, with versions and sha256, into serve/requirements.txt and requirements-torch.txt.

make lock TORCH_INDEX=https://download.pytorch.org/whl/cpu

pip resolves, with the versions of constraints.txt, and says which files it would install; none is. It runs with the
Python and on the system of the image. torch has a file of its own, as it comes from an index of its own.
"""

import argparse
import hashlib
import json
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
IMAGE: Final = "3.11 on Linux x86_64"
EXTRAS: Final = ("diffusion", "timm", "torchvision")
LOCK: Final = ROOT / "serve" / "requirements.txt"
TORCH: Final = ROOT / "serve" / "requirements-torch.txt"
HEADER: Final = f"# What serve/Dockerfile installs, for Python {IMAGE}; made by: make lock\n"
_PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_CONSTRAINED: Final = ("--constraint", str(ROOT / "constraints.txt"), "--only-binary", ":all:", "--quiet")


def wanted() -> list[str]:
    """Return what the image needs by name: what the library and the service require, and what builds the library."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = found["project"]
    extras = [line for extra in EXTRAS for line in project["optional-dependencies"][extra]]
    return [*project["dependencies"], *extras, *found["dependency-groups"]["serve"], *found["build-system"]["requires"]]


def resolved(packages: Path) -> dict[str, tuple[str, str]]:
    """Return version and sha256 of everything that would be installed, by name; `packages` holds torch's file."""
    options = ["--dry-run", "--ignore-installed", "--report", "-", "--find-links", str(packages)]
    line = [*_PIP, "install", *options, *_CONSTRAINED, *wanted()]
    report = json.loads(subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {canonical(entry["metadata"]["name"]): _pinned(entry) for entry in report["install"]}


def _pinned(entry: Mapping[str, Any]) -> tuple[str, str]:
    return entry["metadata"]["version"], entry["download_info"]["archive_info"]["hashes"]["sha256"]


def canonical(name: str) -> str:
    """Return a distribution's name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def text(pins: Mapping[str, tuple[str, str]]) -> str:
    """Return a file that `pip install --require-hashes` reads."""
    lines = (f"{name}=={version} --hash=sha256:{digest}\n" for name, (version, digest) in sorted(pins.items()))
    return HEADER + "".join(lines)


def main() -> None:
    """Write both files, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch-index", default="", metavar="URL", help="where torch without CUDA is")
    given = parser.parse_args()
    here = f"{platform.python_version().rpartition('.')[0]} on {platform.system()} {platform.machine()}"
    if here != IMAGE:
        sys.exit(f"error: This is Python {here}; the image has {IMAGE}. Run it there.")
    index = ["--index-url", given.torch_index] if given.torch_index else []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*_PIP, "download", "--no-deps", "--dest", folder, *_CONSTRAINED, *index, "torch"], check=True)
        (file,) = Path(folder).iterdir()
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        pins = resolved(Path(folder))
    version, found = pins.pop("torch")
    if not version.endswith("+cpu") or found != digest:
        sys.exit("error: This torch is for CUDA. Type: make lock TORCH_INDEX=https://download.pytorch.org/whl/cpu")
    LOCK.write_text(text(pins), encoding="utf-8")
    TORCH.write_text(text({"torch": (version, found)}), encoding="utf-8")
    print(f"{len(pins) + 1} packages")


if __name__ == "__main__":
    main()
