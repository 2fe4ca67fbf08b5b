"""A comparison as one HTML file that loads nothing: the answer first, then curves, figures and how they were made."""

from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from paramgen.comparison.curves import svg
from paramgen.comparison.table import explanations, header, rows
from paramgen.initializers import initializers
from paramgen.registry import Spec

_PLAIN = {
    "library": "What the network's own code, or the library it comes from, would begin with: random numbers.",
    "hypernet": "What another network, trained to do so, predicts for this one from its structure.",
}


def html(values: Mapping[str, Any]) -> str:
    """Return the page."""
    names = ", ".join(each["name"] for each in values["architectures"])
    return Template((files("paramgen.comparison") / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(names),
        answer=_answer(values["conclusion"], many=len(values["architectures"]) > 1),
        sections="\n".join(_section(each, values["data"]["name"]) for each in values["architectures"]),
        explanations=_items(explanations(values)),
        starts="".join(_start(init) for init in values["settings"]["inits"]),
        provenance=escape(_provenance(values)),
    )


def _answer(sentences: Iterable[str], *, many: bool) -> str:
    paragraphs = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return f'<div class="answer{" many" if many else ""}">{paragraphs}</div>'


def _section(architecture: Mapping[str, Any], data: str) -> str:
    name, parameters = architecture["name"], architecture["parameters"]
    task = architecture["task"]
    what = (
        "the share of the test images named right"
        if task["metric"] == "accuracy"
        else f"perplexity: between how many {task['unit']}s the network wavers at each place, so less is better"
    )
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header(architecture))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(architecture))
    picture = f'role="img" aria-label="Curves of {escape(name)}; the figures are in the table below"'
    return (
        f"<h2>{escape(name)} on {escape(data)}</h2>"
        f'<p class="soft">{parameters:,} parameters. The curves show {escape(what)}. The bands show how '
        "far the seeds spread, the dotted line what guessing reaches.</p>"
        f'<div class="chart" {picture}>{svg(architecture)}</div>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<ul>{_items(architecture['notes'])}</ul>"
    )


def _start(init: str) -> str:
    """Return a start's name and what it is, in its initializer's own words where there are no plainer ones."""
    kind = Spec.parse(init.partition("?")[0]).kind
    said = _PLAIN.get(kind) or (initializers.get(kind).__doc__ or "").strip().partition("\n\n")[0]
    return f"<dt>{escape(init)}</dt><dd>{escape(' '.join(said.split()))}</dd>"


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _provenance(values: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in values["versions"].items())
    hardware = values["hardware"]
    where = f"{hardware['device']} ({hardware['name']}, {hardware['threads']} threads)"
    commit = f" Commit {values['commit']}." if values["commit"] else ""
    return f"Made on {where} with {versions}.{commit} All figures: results.json beside this page."
