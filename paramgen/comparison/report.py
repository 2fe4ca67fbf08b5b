"""The files of a comparison: results.json, table.md, curves.png and index.html."""

import json
from pathlib import Path
from typing import Final

from paramgen.comparison.curves import png
from paramgen.comparison.markdown import markdown
from paramgen.comparison.outcome import Comparison
from paramgen.comparison.page import html
from paramgen.storage.folder import write_text

RESULTS: Final = "results.json"


def write_report(comparison: Comparison, folder: Path) -> None:
    """Write results.json, the table, the curves and the page."""
    write_text(folder / RESULTS, json.dumps(comparison.to_json(), indent=1) + "\n")
    write_text(folder / "table.md", markdown(comparison))
    png(comparison.architectures, folder / "curves.png")
    write_text(folder / "index.html", html(comparison))
