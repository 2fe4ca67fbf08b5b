"""The pages of initializers and modifiers: every registered name has one, with what its class says, without a file."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import pytest

from benchmarks.closed_forms.pictures import named_chains
from benchmarks.closed_forms.probes import DEPTH, WIDTH
from paramgen.architectures import Architecture
from paramgen.graphs.schema import Graph
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.modifiers import modifiers
from paramgen.output.facts import initializer_facts
from scripts import site_initializers

ROOT = Path(__file__).parents[2]


@final
@dataclass(frozen=True, kw_only=True)
class Brandnew(Initializer):
    """Weights of somebody's own idea (Somebody, 2031).

    A second paragraph.
    """

    size: float | int = 0.5  # how large they are
    kind: Literal["round", "square"] = "round"
    """Of which shape."""

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return none."""
        return {}

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield none."""
        return iter(())


def test_every_name_has_a_page_that_the_navigation_leads_to() -> None:
    names = [f"initializers/{name}.md" for name in initializers.names()]
    names += [f"modifiers/{name}.md" for name in modifiers.names()]
    assert sorted(site_initializers.pages()) == sorted(names)
    entries = [entry for group in site_initializers.navigation() for entries in group.values() for entry in entries]
    assert sorted(page for entry in entries for page in entry.values()) == sorted(names)


def test_a_page_has_formula_options_source_picture_and_experiment() -> None:
    page = site_initializers.markdown_of("initializers/eoc.md")
    assert "σ<sub>w</sub><sup>2</sup> E[f′(√q z)<sup>2</sup>] = 1" in page
    assert "(https://arxiv.org/abs/1902.06853)" in page and "(https://arxiv.org/abs/1611.01232)" in page
    assert "`bias`\n:   Std of the biases; none before relu, whose point has none *(number, default `0.05`)*" in page
    assert "20 linear layers of 64 with tanh" in page and "<svg" in page
    page = site_initializers.markdown_of("modifiers/blocks.md")
    assert "Measured: share of entries that stay" in page and page.count("<svg") == 2


def test_a_new_initializer_has_a_page_without_another_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(initializers._classes, "brandnew", Brandnew)
    page = site_initializers.markdown_of("initializers/brandnew.md")
    assert page.startswith("# `brandnew`\n\nWeights of somebody's own idea (Somebody, 2031).\n\nA second paragraph.")
    assert "`size`\n:   How large they are *(number, default `0.5`)*" in page
    assert "`kind`\n:   Of which shape *(`round` or `square`, default `round`)*" in page


def test_formulas_are_those_of_the_names_that_have_one() -> None:
    named = tomllib.loads((ROOT / "scripts" / "site_formulas.toml").read_text("utf-8"))
    formulas = {name for name, facts in initializer_facts().items() if facts.group == "formulas"}
    assert formulas | set(modifiers.names()) <= set(named) <= set(initializers.names()) | set(modifiers.names())


def test_pictures_are_there_for_every_name_that_can_have_one() -> None:
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "initializer_pictures.json").read_text("utf-8"))
    assert list(found["pictures"]) == list(named_chains())
    drawn = {name: each for name, each in found["pictures"].items() if "network" in each}
    assert all(len(each["mean_square"]) in (DEPTH, DEPTH + 1) for each in drawn.values())
    assert all(len(each["singular_values"]) in (WIDTH, 49) for each in drawn.values())
    squares = drawn["he"]["mean_square"]
    assert 0.1 < squares[-1] / squares[0] < 10 and drawn["scaled"]["mean_square"][-1] < 1e-30
    singular = drawn["orthogonal"]["singular_values"]
    assert max(singular) == pytest.approx(min(singular), rel=0.01)
    ranks = [value for value in drawn["lowrank"]["singular_values"] if value > 1e-3]
    assert len(ranks) == round(0.1 * WIDTH)


def test_names_in_tables_lead_to_their_pages() -> None:
    overview = site_initializers.linked((ROOT / "docs" / "initializers.md").read_text("utf-8"), "initializers.md")
    led = set(re.findall(r"\]\(((?:initializers|modifiers)/\w+\.md)\)", overview))
    assert {"initializers/he.md", "initializers/s4d.md", "modifiers/scale.md", "initializers/grow.md"} <= led
    assert site_initializers.linked("| `he` |", "other.md") == "| `he` |"
