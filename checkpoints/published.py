"""Write what the wheel carries of the catalog: by what `paramgen check` tells published files, and their norms.

Python reads TOML only from 3.11 on, and the catalog lies outside the wheel: so the package has a JSON of its own.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
CATALOG: Final = ROOT / "checkpoints" / "catalog.toml"
PACKAGED: Final = ROOT / "paramgen" / "published" / "published.json"
_TOLD_BY: Final = ("repo", "file", "family", "sha256", "parameters")


def packaged(catalog: dict[str, Any]) -> str:
    """Return the JSON that the package carries."""
    norms = catalog["norms"]
    made = {
        "files": [{key: entry[key] for key in _TOLD_BY if key in entry} for entry in catalog["files"]],
        "repo": norms["repo"],
        "tolerance": norms["tolerance"],
        "norms": {name: table for name, table in norms.items() if isinstance(table, dict)},
    }
    return json.dumps(made, indent=1) + "\n"


def main() -> None:
    """Write the package's file."""
    PACKAGED.write_text(packaged(tomllib.loads(CATALOG.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
