"""The documents' code blocks are run, in their order and in one empty folder each."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRIES = ["README.md", "CONTRIBUTING.md"]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
# What the site takes in besides README.md and its own pages:
INCLUDED = ["ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md", "training/README.md", "training/LOG.md"]
INCLUDED += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "cards").glob("*.md"))
# CI is itself `make test`, so here a target is only resolved: it must exist and its recipe must expand.
MAKE = f'make() {{ command make --directory {shlex.quote(str(ROOT))} --dry-run "$@"; }}\n'


def blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in (*ENTRIES, *PAGES, *INCLUDED) if blocks(name)])
def test_every_block_runs(document: str, tmp_path: Path) -> None:
    search = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": search, "NO_COLOR": "1"}
    for language, code in blocks(document):
        command = ["bash", "-euo", "pipefail", "-c", MAKE + code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("document", ENTRIES)
def test_has_blocks(document: str) -> None:
    assert blocks(document)


@pytest.mark.parametrize("document", [*ENTRIES, *PAGES, *INCLUDED])
def test_says_the_language_of_every_block(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
    assert len(fences) % 2 == 0
    assert all(fences[0::2])  # a block without a language would be passed over in silence
    assert not any(fences[1::2])


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md"])
def test_names_only_files_that_exist(document: str) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"`([\w./-]+(?:\.(?:py|toml|md|txt)|/))`", text)
    missing = [name for name in named if not any(f"/{name}" in f"/{file}" for file in listed)]
    assert not missing, missing
