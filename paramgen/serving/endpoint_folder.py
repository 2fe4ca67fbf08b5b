"""The folder of an Inference Endpoint, ready to push: the handler, this package, and its requirements.

It is written from the wheel alone. The package is copied as files and is not in requirements.txt: pip would install
transformers 5 with it, under which the toolkit of Inference Endpoints does not start.
"""

import json
import re
import shutil
from importlib.metadata import requires, version
from importlib.resources import as_file, files
from pathlib import Path
from string import Template
from typing import Final

from paramgen.storage.folder import transaction
from paramgen.storage.unaltered import digests_of

ENDPOINT_MARK: Final = "endpoint.json"
"""The file that marks a folder as written by `export`, so that it may be overwritten."""

_NEEDED: Final = ("torch", "safetensors", "numpy", "jaxtyping", "httpx2", "timm", "torchvision")
_NAME: Final = re.compile(r"[\w.-]+")


def export(target: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write the folder, whole or not at all, and return its files with their sizes."""
    package = files("paramgen")
    with transaction(target, overwrite=overwrite, mark=ENDPOINT_MARK) as partial:
        with as_file(package) as found:
            shutil.copytree(found, partial / "paramgen", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        # By its metadata, importlib finds the version of a package that was not installed.
        metadata = partial / f"paramgen-{version('paramgen')}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        texts = {
            metadata: f"Metadata-Version: 2.1\nName: paramgen\nVersion: {version('paramgen')}\n",
            partial / "handler.py": (package / "serving" / "handler.py").read_text(encoding="utf-8"),
            partial / "requirements.txt": "".join(f"{line}\n" for line in requirements()),
            partial / "README.md": _template().substitute(version=version("paramgen")),
        }
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        record = {"paramgen": version("paramgen"), "digests": digests_of(partial)}
        texts[partial / ENDPOINT_MARK] = json.dumps(record) + "\n"
        (partial / ENDPOINT_MARK).write_text(texts[partial / ENDPOINT_MARK], encoding="utf-8")
        return {path.name: path.stat().st_size for path in texts if path.parent == partial}


def requirements() -> list[str]:
    """Return the requirements of what the handler imports or may be requested to use, at paramgen's versions."""
    found: dict[str, str] = {}
    for line in requires("paramgen") or ():
        requirement = line.partition(";")[0].strip()
        match = _NAME.match(requirement)
        if match is not None:
            found.setdefault(match[0], requirement)
    return [found[name] for name in _NEEDED if name in found]


def _template() -> Template:
    return Template((files("paramgen.serving") / "endpoint_folder.md").read_text(encoding="utf-8"))
