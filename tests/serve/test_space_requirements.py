"""What a Space installs: pinned, as tested, and nothing whose name anybody may take."""

import re
from pathlib import Path

import serve.app

ROOT = Path(serve.app.__file__).parents[1]
LINES = [
    line
    for line in (ROOT / "serve" / "space" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def test_every_package_is_pinned_to_what_is_tested() -> None:
    tested = {
        match[1].lower().replace("_", "-"): match[2]
        for match in re.finditer(r"^([\w.-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    }
    assert LINES and all(tested[line.partition("==")[0]] == line.partition("==")[2] for line in LINES)


def test_it_asks_no_index_for_paramgen() -> None:
    assert not any(line.startswith("paramgen") for line in LINES)
