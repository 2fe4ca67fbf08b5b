"""The documents of the repository as one line of text, and the results that they quote."""

import json
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
WHEN: Final = "docs/when.md"


def result_of(name: str) -> dict[str, Any]:
    """Return a file of cards/results."""
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def flowing(document: str) -> str:
    """Return a document without its line breaks."""
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


def percent(value: float) -> str:
    """Return a share as documents quote it, without the sign."""
    return f"{100 * value:.1f}"
