"""`paramgen diagnose` as a user meets it: a table, JSON alone, a page, and refusals in one line."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Command

OWN = """
import torch
from torch import nn

def build(num_classes=4, gain=1.0):
    hidden = [layer for _ in range(9) for layer in (nn.LazyLinear(48, bias=False), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.LazyLinear(num_classes))

def fixed():
    return nn.Linear(4, 2)

example_input = torch.zeros(2, 3, 4, 4)
"""


@pytest.fixture
def diagnose(command: "Command", tmp_path: Path) -> "Command":
    (tmp_path / "my.py").write_text(OWN, encoding="utf-8")

    def run(*arguments: object, **options: object) -> object:
        words = [] if "--folder" in arguments or "--arch" in arguments else ["--arch", "my.py:build"]
        return command("diagnose", *words, *arguments, **options)

    return run


def test_a_table_with_advice_and_a_page(diagnose: "Command", tmp_path: Path) -> None:
    done = diagnose("--init", "library", "--init", "he", "--what", "signal,gradient", "--out", "page.html")
    assert done.status == 0, done.err
    (row,) = (line for line in done.out.splitlines() if line.startswith("signal: variance"))
    assert row.split()[-3] in ("watch", "bad") and row.split()[-1] == "ok", row
    assert "library: The signal fades on its way through the network" in done.out
    assert "he: The signal" not in done.out
    assert "page.html shows it." in done.out
    assert "3/4  he: gradient" in done.err
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_and_nothing_else(diagnose: "Command") -> None:
    done = diagnose("--what", "guessing,proxies", "--json", "--seeds", 2)
    record = json.loads(done.out)
    assert [(each["init"], each["measure"]) for each in record["results"]] == [
        ("library", "guessing"),
        ("library", "proxies"),
    ]
    assert isinstance(record["results"][0]["figures"]["gamma"], float)
    assert record["seeds"] == [0, 1]


def test_data_as_compare_takes_them(diagnose: "Command", tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog", "owl"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (4, 4), (40 * index, 60, 90)).save(tmp_path / "photos" / name / f"{index}.png")
    done = diagnose("--data", "photos", "--what", "ntk", "--examples", 6)
    assert done.status == 0, done.err
    assert "6 examples of photos" in done.out and "ntk: alignment with the labels" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--what", "signal,ntkk"), "Unknown measure 'ntkk'. Did you mean 'ntk'"),
        (("--examples", 1), "Type: --examples 2"),
        (("--arch", "my.py:fixed", "--example-input", "2x9"), "does not fit"),
        (("--out", "page.txt"), "Type: --out diagnosis.html"),
        (("--folder", "nowhere"), "nowhere"),
        (("--init", "hee"), "Did you mean 'he'"),
    ],
)
def test_refusals_are_one_line(diagnose: "Command", arguments: tuple[object, ...], said: str) -> None:
    assert said in diagnose(*arguments).refusal.partition("\n")[0]
