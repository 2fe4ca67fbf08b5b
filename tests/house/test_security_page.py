"""Every promise of SECURITY.md names the tests that hold it, and they are there."""

import re
from pathlib import Path

import pytest

import paramgen

ROOT = Path(paramgen.__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)`")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ")][1:]
RULES = re.findall(r"^\d\. \*\*.+?(?=^\d\. |\n\n)", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("promise", [*ROWS, *RULES], ids=lambda promise: promise[:40])
def test_a_promise_names_its_tests(promise: str) -> None:
    assert TEST.search(promise)


def test_they_are_all_there() -> None:
    assert len(ROWS) > 15 and len(RULES) == 4
    assert [name for name in TEST.findall(TEXT) if not (ROOT / name).is_file()] == []
