"""Write the source of the distribution paramgen-serve, which is `serve/` under a name of its own.

python scripts/serve_source.py FOLDER

In the repository the service is called `serve`, a name that a wheel must not take: any program may have a serve.py. The
copy is the package `paramgen_serve`: imports are rewritten, nothing else is. So the files in `serve/` stay what they
are, with absolute imports, and the archive that is built of the copy is whole. `make build` calls this and builds it.
"""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = "paramgen_serve"
LEFT_OUT: Final = ("handler.py", "ray_app.py")  # each stands in a repository of its own, or is named from a clone
_IMPORT: Final = re.compile(r"^(\s*(?:from|import) )serve(?=[. ])", re.MULTILINE)
_TYPED: Final = re.compile(r"(?<=python -m |--factory )serve\b")  # what a docstring says one types
_KEPT: Final = ("version", "requires-python", "license", "license-files", "authors", "classifiers", "urls")


def write(folder: Path) -> None:
    """Write the package, its pyproject.toml, README and licence into a new folder."""
    package = folder / PACKAGE
    package.mkdir(parents=True)
    for path in sorted((ROOT / "serve").glob("*.py")):
        if path.name not in LEFT_OUT:
            text = _IMPORT.sub(rf"\1{PACKAGE}", path.read_text(encoding="utf-8"))
            (package / path.name).write_text(_TYPED.sub(PACKAGE, text), encoding="utf-8")
    shutil.copytree(ROOT / "serve" / "static", package / "static")
    shutil.copy(ROOT / "paramgen" / "py.typed", package)
    for name in ("LICENSE", "serve/README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "pyproject.toml").write_text(_project(), encoding="utf-8")


def _project() -> str:
    """Return the pyproject.toml: what it needs is paramgen of the same version, and the group `serve`."""
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project, groups = ours["project"], ours["dependency-groups"]
    fields = {
        "name": "paramgen-serve",
        "description": "The web service of paramgen: initial weights for any architecture, over HTTP.",
        "readme": "README.md",
        **{name: project[name] for name in _KEPT},
        "dependencies": [f"paramgen=={project['version']}", *groups["serve"]],
        "optional-dependencies": {"telemetry": groups["telemetry"]},
    }
    tables = {
        "build-system": ours["build-system"],
        "project": fields,
        "tool.setuptools": {"packages": [PACKAGE], "package-data": {PACKAGE: ["py.typed", "static/*"]}},
    }
    return "\n".join(f"[{name}]\n" + "".join(_line(*item) for item in table.items()) for name, table in tables.items())


def _line(name: str, value: Any) -> str:
    return f"{name} = {_toml(value)}\n"


def _toml(value: Any) -> str:
    """Return a value as TOML has it, whose texts are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


if __name__ == "__main__":
    if len(sys.argv) != 2 or Path(sys.argv[1]).exists():
        sys.exit(f"usage: {sys.argv[0]} FOLDER, one that is not there yet")
    write(Path(sys.argv[1]))
