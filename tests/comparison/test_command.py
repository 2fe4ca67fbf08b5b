"""`paramgen compare` as a user meets it: a file with a network, a folder of pictures, an answer."""

import json
import re
import shutil
import signal
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Command

FILES = ["cache", "curves.png", "index.html", "results.json", "runs", "settings.json", "table.md"]
OWN = """
import torch
from torch import nn

def build(num_classes=10, width=6):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(width, num_classes),
    )

def ten():
    return build()

def two():
    return build(2)

def flat():
    return nn.Linear(3 * 16 * 16, 3)

example_input = torch.zeros(2, 3, 16, 16)
"""
SMALL = ("--steps", 6, "--seeds", 2, "--lr", "1e-2,3e-2", "--widen", 0, "--batch", 8)


@pytest.fixture
def compare(command: "Command", tmp_path: Path, photos: Path) -> "Command":
    """Compare the default initialization with the shipped hypernet's, shortly."""
    (tmp_path / "my.py").write_text(OWN, encoding="utf-8")

    def run(*arguments: object, **options: object) -> object:
        words = [str(word) for word in arguments]
        for option, value in (("--arch", "my.py:build"), ("--data", str(photos)), ("--out", "out")):
            if option not in words:
                words += [option, value]
        return command("compare", *words, *(word for word in _missing(words)), **options)

    return run


def _missing(words: list[str]) -> list[object]:
    pairs = zip(SMALL[::2], SMALL[1::2], strict=True)
    return [word for option, value in pairs if option not in words for word in (option, value)]


def _untimed(value: Any) -> Any:
    """Results without what a clock said."""
    if isinstance(value, dict):
        return {key: _untimed(item) for key, item in value.items() if key not in ("seconds", "init_seconds")}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


class _Loads(HTMLParser):
    """Collects what a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        given = dict(attributes)
        if tag in ("script", "link", "img", "iframe", "object"):
            self.found.append(tag)
        self.found += [str(given[key]) for key in ("src", "href") if not (given.get(key) or "#").startswith("#")]


@pytest.mark.slow
def test_answers_and_keeps_everything(compare: "Command", tmp_path: Path) -> None:
    done = compare("--init", "library", "--init", "hypernet", "--train-examples", 36)
    assert done.status == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (architecture,) = results["architectures"]
    assert architecture["task"]["classes"] == 3
    assert "num_classes=3" in architecture["notes"][0]
    assert architecture["best_simple"] == "library"
    records = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").iterdir()]
    assert len(records) == 2 * (2 + 1)  # both learning rates for seed 0, the better one for seed 1
    for result in architecture["initializations"]:
        own = [each for each in records if each["init"] == result["init"] and each["lr"] == result["lr"]]
        ends = [each["accuracy"][-1] for each in sorted(own, key=lambda each: each["seed"])]
        assert result["final"]["values"] == pytest.approx(ends, abs=1e-6)
        grid = {
            each["lr"]: each["accuracy"][-1] for each in records if (each["init"], each["seed"]) == (result["init"], 0)
        }
        assert grid[result["lr"]] == max(grid.values())
        assert result["steps"] == [0, 1, 2, 3, 4, 5, 6]
    assert done.out.splitlines()[0] == results["conclusion"][0]
    assert results["conclusion"][0] in (tmp_path / "out" / "table.md").read_text()
    assert done.err.count("finished") == 6 and "left" in done.err
    page = (tmp_path / "out" / "index.html").read_text()
    loads = _Loads()
    loads.feed(page)
    assert not loads.found
    assert page.index('class="answer"') < page.index("<svg") < page.index("<table")
    assert (tmp_path / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_goes_on_after_a_kill_and_ends_with_the_same_figures(compare: "Command", tmp_path: Path) -> None:
    whole = compare("--json", "--steps", 40)
    assert whole.status == 0, whole.err
    shutil.rmtree(tmp_path / "out" / "runs")  # the next call is not to find them under the same name
    (tmp_path / "out").rename(tmp_path / "whole")
    killed = compare("--steps", 40, signal=signal.SIGKILL, when=tmp_path / "out" / "runs", after=0.15)
    assert killed.status == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "runs").glob("*.json")}
    resumed = compare("--json", "--steps", 40)
    assert resumed.status == 0, resumed.err
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items())
    assert _untimed(json.loads(resumed.out)) == _untimed(json.loads(whole.out))
    assert not list((tmp_path / "out").rglob(".*"))


@pytest.mark.slow
def test_another_comparison_is_not_mixed_into_a_folder(compare: "Command", tmp_path: Path) -> None:
    assert compare("--steps", 2, "--seeds", 1).status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert "steps: 2 there, 3 now" in compare("--steps", 3, "--seeds", 1).refusal
    assert "inits: " in compare("--steps", 2, "--seeds", 1, "--init", "library").refusal
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_learns_a_text_with_a_small_gpt2(compare: "Command", text: Path, tmp_path: Path) -> None:
    small = ["n_layer=1", "n_embd=16", "n_head=2", "n_positions=32"]
    sets = [word for each in small for word in ("--set", each)]
    done = compare("--arch", "gpt2", "--data", text, *sets, "--init", "library", "--steps", 12, "--seeds", 1, "--json")
    assert done.status == 0, done.err
    (architecture,) = json.loads(done.out)["architectures"]
    assert architecture["task"] | {"vocabulary": 256, "unit": "byte", "length": 32} == architecture["task"]
    curve = architecture["initializations"][0]["curve"]["mean"]
    assert curve[0] == pytest.approx(architecture["task"]["uniform"], abs=0.3)
    assert curve[-1] < curve[0] - 0.5
    assert "perplexity" in architecture["conclusion"]["sentences"][0]


@pytest.mark.slow
def test_a_network_with_more_outputs_than_classes_is_trained_and_said_so(compare: "Command") -> None:
    done = compare("--arch", "my.py:ten", "--init", "library", "--steps", 1, "--seeds", 1, "--lr", "1e-3")
    assert done.status == 0, done.err
    assert re.search(r"note: my.py:ten has 10 outputs, of which 3 are used", done.out)


@pytest.mark.parametrize(
    ("options", "said"), [(("--lr", "fast"), "Type: --lr"), (("--schedule", "linear"), "Type: --schedule")]
)
def test_a_refusal_is_one_line_and_leaves_nothing(
    compare: "Command", tmp_path: Path, options: tuple[object, ...], said: str
) -> None:
    assert said in compare(*options).refusal
    assert not (tmp_path / "out").exists()


def test_a_chain_is_compared_with_what_it_changes_and_goes_on_where_it_was(compare: "Command", tmp_path: Path) -> None:
    chain = "orthogonal|lowrank:2|scale:0.5"
    words = ("--init", chain, "--init", "orthogonal", "--lr", "mup:1e-2,3e-2?base=4", "--json")
    done = compare(*words)
    assert done.status == 0, done
    found = json.loads(done.out)
    results = {each["init"]: each for each in found["architectures"][0]["initializations"]}
    assert set(results) == {chain, "orthogonal"} and all(each["failed"] == 0 for each in results.values())
    assert results[chain]["curve"]["values"] != results["orthogonal"]["curve"]["values"]
    settings = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    assert settings["mup_base"] == 4
    assert settings["inits"][chain]["for"]["my.py:build"]["then"] == ["lowrank:2", "scale:0.5"]
    runs = {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "runs").iterdir()}
    assert compare(*words).out == done.out and len(runs) == 6
    assert runs == {file: file.stat().st_mtime_ns for file in (tmp_path / "out" / "runs").iterdir()}
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert f"<dt>{chain}</dt>" in page and "Then:" in page
    refused = compare("--init", "orthogonal|lowrank|blocks", "--out", "other")
    assert "undoes the low rank" in refused.refusal and not (tmp_path / "other").exists()
