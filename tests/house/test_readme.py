"""The documents' code blocks are run, in their order and in one empty folder each.

`bash` runs the shell's; what it is asked of `paramgen` and what is in Python is run as every command here is.
"""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from paramgen.comparison.conclusion import conclude
from paramgen.comparison.results import InitializationResult, TaskSummary
from paramgen.initializers import initializers
from tests.conftest import Command

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENTRIES = ["README.md", "CONTRIBUTING.md"]
PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
# What the site takes in besides README.md and its own pages:
INCLUDED = ["ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md", "training/README.md", "training/LOG.md"]
INCLUDED += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "cards").glob("*.md"))
# CI is itself `make test`, so here a target is only resolved: it must exist and its recipe must expand.
SHELL = f"""
make() {{ command make --directory {shlex.quote(str(ROOT))} --dry-run "$@"; }}
paramgen() {{
  printf '%s\\0' "$@" END >&"$ASKED"
  read -r status <&"$ANSWERED"
  return "$status"
}}
"""


def blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def words(asked: IO[str]) -> Iterator[str]:
    """Yield what ends with a zero byte, until the other side is closed."""
    word = ""
    while letter := asked.read(1):
        if letter == "\0":
            yield word
            word = ""
        else:
            word += letter


def shell(code: str, command: Command, folder: Path) -> str:
    """Run a block and return what went wrong, if anything did."""
    (asked, ask), (answered, answer) = os.pipe(), os.pipe()
    line = ["bash", "-euo", "pipefail", "-c", SHELL + code]
    environment = os.environ | {"ASKED": str(ask), "ANSWERED": str(answered)}
    said = []
    with (
        subprocess.Popen(line, cwd=folder, env=environment, pass_fds=(ask, answered)) as process,
        os.fdopen(asked) as asked_of_us,
        os.fdopen(answer, "w", buffering=1) as our_answer,
    ):
        os.close(ask)
        os.close(answered)
        stream = words(asked_of_us)
        while arguments := list(takewhile(lambda word: word != "END", stream)):
            done = command(*arguments, NO_COLOR="1")
            said.append(done)
            print(done.status, file=our_answer)
    return "" if process.returncode == 0 else f"{code}\n{said[-1:]}"


@pytest.mark.slow
@pytest.mark.parametrize("document", [name for name in (*ENTRIES, *PAGES, *INCLUDED) if blocks(name)])
def test_every_block_runs(document: str, tmp_path: Path, command: Command) -> None:
    for language, code in blocks(document):
        if language == "sh":
            assert not shell(code, command, tmp_path)
        else:
            done = command(code=code, alone=True)
            assert done.status == 0, f"{code}\n{done}"


def masked(text: str) -> list[str]:
    """Return lines without what another machine or moment makes of them: seconds, and parameters in each."""
    return [
        re.sub(r"in [\d.]+ s \([\d.]+ \w? ?parameters/s\)", "in a time", line).rstrip() for line in text.splitlines()
    ]


@pytest.mark.slow
def test_the_sample_of_the_guide_is_what_is_printed(tmp_path: Path, command: Command) -> None:
    text = (ROOT / "docs" / "how-to" / "predict.md").read_text(encoding="utf-8")
    sample = re.search(
        r"^```sh\n(paramgen predict --arch vit_b16[^\n]*)\n```\n\n```text\n(.*?)^```$", text, re.M | re.S
    )
    assert sample is not None
    done = command(*shlex.split(sample[1])[1:], NO_COLOR="1")
    assert done.status == 0 and masked(done.out) == masked(sample[2]), done.out
    assert "in a time" in masked(sample[2])[0]


COMPARED = re.compile(r"^```text\n(paramgen compare --arch gpt2 .*?)\n```\n\n[^`]*```text\n(.*?)\n```$", re.M | re.S)
WITH_COMPARISON = ("README.md", "docs/tutorial-text.md")


def comparison(document: str) -> tuple[list[str], list[str]]:
    """What a document tells to compare, and what it says that this prints."""
    found = COMPARED.search((ROOT / document).read_text(encoding="utf-8"))
    assert found is not None
    return shlex.split(found[1].replace("\\\n", ""))[1:], found[2].splitlines()


TEXT = TaskSummary(
    metric="perplexity", chance=9.0, at_chance_up_to=9.0, unit="byte", train=0, validation=0, test=200, uniform=5.5
)


def measured(init: str, entry: Mapping[str, Any]) -> InitializationResult:
    """The result of an initialization of which a benchmark kept the curve of three seeds."""
    whole = {"init": init, "simple": True, "failed": 0, "reasons": [], "diverged": 0, "diverged_at_lr": 0}
    spread = entry["final"]  # nothing is said of what the benchmark did not keep
    kept = {"seeds": [0, 1, 2], "lr_at_edge": None, "at_chance": 0, "area": spread, "init_seconds": spread}
    return InitializationResult.from_json({**whole, **kept, **entry})


@pytest.mark.parametrize("document", WITH_COMPARISON)
def test_the_sample_of_a_comparison_is_what_was_measured(document: str) -> None:
    """Its command has the protocol of the result, and its sample is what `compare` says of that result."""
    pytest.importorskip("scipy")
    arguments, sample = comparison(document)
    found = json.loads((ROOT / "cards" / "results" / "text.json").read_text(encoding="utf-8"))
    (row,) = (each for each in found["rows"] if each["network"] == "gpt2-112")
    overrides = {arguments[place + 1] for place, word in enumerate(arguments) if word == "--set"}
    assert overrides == set(row["made_by"].partition("?")[2].split("&"))
    values = {word: arguments[place + 1] for place, word in enumerate(arguments) if word.startswith("--")}
    named = {key: float(values[f"--{key}"]) for key in ("steps", "batch", "length", "test-examples")}
    assert named == {key: found["protocol"][key.replace("-", "_")] for key in named}
    assert [float(each) for each in values["--lr"].split(",")] == found["protocol"]["lr"]
    results = [measured(init, row["initializations"][init]) for init in ("hypernet", "library")]
    said = conclude(results, TEXT, steps=found["steps"], seeds=3).sentences
    assert sample == [said[0], "...", said[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_COMPARISON)
def test_the_comparison_runs(document: str, tmp_path: Path, command: Command) -> None:
    arguments, _ = comparison(document)
    text = tmp_path / "my_text.txt"
    text.write_text("The owl and the pussycat went to sea in a beautiful pea-green boat.\n" * 200, encoding="utf-8")
    arguments[arguments.index("my_text.txt")] = str(text)
    arguments[-1] = "1e-3"  # of the learning rates, one
    arguments[arguments.index("300")] = "2"
    done = command(*arguments, "--seeds", "2", "--out", str(tmp_path / "out"), "--quiet", NO_COLOR="1")
    assert done.status == 0 and "perplexity" in done.out, done


def test_the_readme_is_short_and_begins_with_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 130 and max(map(len, lines)) <= 300
    assert {"make predict", "make test"} <= set(lines[:25])


@pytest.mark.parametrize("document", ENTRIES)
def test_links_lead_to_files(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)#]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    paths = [one or other for one, other in linked]
    assert not [path for path in paths if "://" not in path and not (ROOT / path).is_file()]


def test_every_initializer_is_on_its_page() -> None:
    page = (ROOT / "docs" / "initializers.md").read_text(encoding="utf-8")
    assert not [name for name in initializers.names() if not re.search(rf"`{name}[`:]", page)]


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


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version("paramgen") and citation["license"] == "Apache-2.0"
    assert citation["cff-version"] and citation["title"] and citation["authors"] and citation["message"]
