"""A page for each initializer and modifier, made from the registry: a new one has its page without another file.

Words, papers and options are those of the class, formulas those of `site_formulas.toml` where there is one, pictures
and experiments those of `cards/results/`.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

from benchmarks.closed_forms.table import rows
from paramgen.output.facts import InitializerFacts, initializer_facts, modifier_facts
from scripts.site_options import options_of, plain
from scripts.site_pictures import framed, signal_figure, spread_figure
from scripts.site_results import provenance

ROOT: Final = Path(__file__).resolve().parents[1]
INITIALIZERS, MODIFIERS = "initializers", "modifiers"
LINKED: Final = ("initializers.md", "closed-forms.md")
"""Pages whose tables begin with names."""

_NAMED: Final = re.compile(r"^\| `([a-z][a-z0-9_]*)([^`]*)`", re.MULTILINE)
_RAISED: Final = re.compile(r"([_^])(?:\{([^}]*)\}|([\w−½]+?)(?=[_^]|\W|$))")


def pages() -> list[str]:
    """Return the paths of all pages."""
    return [_page(kind, name) for kind, name, _ in _all()]


def markdown_of(path: str) -> str:
    """Return what stands on a page."""
    kind, name, facts = next(each for each in _all() if _page(*each[:2]) == path)
    described = options_of(kind, name)
    first, *others = map(plain, (facts.sentence, *described.paragraphs))
    parts = [f"# `{name}`", first, *_formula(name), *others, _table(kind, name, facts)]
    if described.options:
        parts += ["## Options", *(str(option) for option in described.options)]
    parts += [*_picture(kind, name), *_experiments(name)]
    overview = "Changes of any initialization" if kind == MODIFIERS else "All initializers"
    anchor = "#changes-of-any-initialization" if kind == MODIFIERS else ""
    return "\n\n".join((*parts, f"[{overview}](../initializers.md{anchor})")) + "\n"


def navigation() -> list[Any]:
    """Return the pages as entries of the navigation, by group."""
    found: dict[str, list[Any]] = {}
    for kind, name, facts in _all():
        found.setdefault(facts.group.capitalize(), []).append({name: _page(kind, name)})
    return [{group: entries} for group, entries in found.items()]


def linked(markdown: str, source: str) -> str:
    """Return a page whose tables begin with names that lead to their pages."""
    known = {name: _page(kind, name) for kind, name, _ in _all()}

    def link(match: re.Match[str]) -> str:
        page = known.get(match[1])
        return match[0] if page is None else f"| [`{match[1]}{match[2]}`]({page})"

    return _NAMED.sub(link, markdown) if source in LINKED else markdown


def _all() -> list[tuple[str, str, InitializerFacts]]:
    return [
        *((INITIALIZERS, name, facts) for name, facts in initializer_facts().items()),
        *((MODIFIERS, name, facts) for name, facts in modifier_facts().items()),
    ]


def _page(kind: str, name: str) -> str:
    return f"{kind}/{name}.md"


def _table(kind: str, name: str, facts: InitializerFacts) -> str:
    option = "--then" if kind == MODIFIERS else "--init"
    command = f"paramgen predict --arch NAME --init {'he --then ' if kind == MODIFIERS else ''}{name} --out FOLDER"
    cells = {
        "to type": f"`{command}`",
        "applies to": facts.applies_to,
        "runs the network": "yes" if facts.runs_network else "no",
        "source": _papers(kind, name, facts),
    }
    if kind == MODIFIERS:
        del cells["runs the network"]
    lines = [f"| `{option} {name}` | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {said} |" for what, said in cells.items() if said)])


def _papers(kind: str, name: str, facts: InitializerFacts) -> str:
    """Return the paper, and the numbers of others that the file names, as links."""
    others = [number for number in options_of(kind, name).papers if number not in facts.paper]
    text = "; ".join((facts.paper, *(f"arXiv:{number}" for number in others)) if facts.paper else ())
    return plain(text)


def _formula(name: str) -> list[str]:
    entry = _formulas().get(name)
    if entry is None:
        return []
    lines = "<br>".join(set_in_type(line) for line in entry["formula"].split(";  "))
    where = re.split(r"(`[^`]*`)", entry.get("where", ""))
    said = "".join(part if part.startswith("`") else set_in_type(part) for part in where)
    return [f'<p class="formula">{lines}</p>', *([said] if said else [])]


def set_in_type(text: str) -> str:
    """Return a formula as HTML: what stands after `_` or `^` lower or higher.

    >>> set_in_type("x_{l+1} = g^2")
    'x<sub>l+1</sub> = g<sup>2</sup>'
    """
    tags = {"_": "sub", "^": "sup"}
    return _RAISED.sub(lambda at: f"<{tags[at[1]]}>{at[2] or at[3]}</{tags[at[1]]}>", escape(text, quote=False))


def _picture(kind: str, name: str) -> list[str]:
    """Return the figure of weights and signals, or why there is none."""
    found = _results("initializer_pictures")
    own = found.get("pictures", {}).get(name, {})
    if "network" not in own:
        return []
    network = found["networks"][own["network"]]
    other, label = (network.get("he"), "he") if kind == MODIFIERS else (network, "library")
    shown = None if name == label else other
    text = (
        f"`{own['init']}` in {network['said']}: the singular values of {network['shown']}, in the middle of the "
        "network, and the mean square of what comes out of each layer, before the activation where there is one, on "
        "normal inputs (geometric mean of five seeds)."
    )
    beside = "" if shown is None else f" Beside it, dashed, is {'`he` alone' if label == 'he' else '`library`'}."
    figure = framed(signal_figure(own["init"], own, shown, label), (text + beside).replace("`", ""))
    return ["## Weights and signals", text + beside, figure, provenance("initializer_pictures", found)]


def _experiments(name: str) -> list[str]:
    """Return the figures of the experiments that are called by the name."""
    parts: list[str] = []
    for experiment, found in _results("closed_forms").items():
        if experiment.partition(" ")[0] != name:
            continue
        what, own, beside = (cell.strip() for cell in rows({experiment: found})[0].strip("|").split(" | ")[1:4])
        said = f"Measured: {what}. Of `{name}`: {own}." + (f" Beside it: {beside}." if beside else "")
        drawn = spread_figure(experiment, found["figures"])
        parts += [said, *([framed(drawn, said.replace("`", ""))] if drawn else []), provenance("closed_forms", found)]
    heading = "## Experiment" if len(parts) <= 3 else "## Experiments"
    return [heading, *parts, "How it was measured: [closed forms](../closed-forms.md)."] if parts else []


@cache
def _formulas() -> Mapping[str, Any]:
    return tomllib.loads((ROOT / "scripts" / "site_formulas.toml").read_text(encoding="utf-8"))


@cache
def _results(name: str) -> dict[str, Any]:
    path = ROOT / "cards" / "results" / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
