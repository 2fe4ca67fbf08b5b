"""A comparison as one HTML file that loads nothing: the answer first, then curves, figures and how they were made."""

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

from paramgen.comparison.curves import svg
from paramgen.comparison.markdown import explanations
from paramgen.comparison.outcome import Comparison, Environment
from paramgen.comparison.results import ArchitectureResult
from paramgen.comparison.table import header, rows
from paramgen.drawing.style import answer_block, report_style
from paramgen.initializers import initializers
from paramgen.modifiers import modifiers
from paramgen.registry import Spec
from paramgen.registry.chains import split_chain

_PLAIN = {
    "library": "What the network's own code, or the library it comes from, begins with: random numbers.",
    "hypernet": "What another network, trained to do so, predicts for this one from its structure.",
}


def html(comparison: Comparison) -> str:
    """Return the page."""
    architectures = comparison.architectures
    return Template((files("paramgen.comparison") / "page.html").read_text(encoding="utf-8")).substitute(
        style=report_style(),
        title=escape(", ".join(each.name for each in architectures)),
        answer=answer_block(comparison.conclusion, many=len(architectures) > 1),
        sections="\n".join(_section(each, comparison.data.name) for each in architectures),
        explanations=_items(explanations(comparison)),
        initializers="".join(_initializer(init) for init in comparison.settings["inits"]),
        provenance=escape(_provenance(comparison.environment)),
    )


def _section(architecture: ArchitectureResult, data: str) -> str:
    name, task = architecture.name, architecture.task
    what = (
        "the share of the test images that are classified correctly"
        if task.metric == "accuracy"
        else f"perplexity: among how many equally likely {task.unit}s the network hesitates, so less is better"
    )
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header(architecture))
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(architecture))
    picture = f'role="img" aria-label="Curves of {escape(name)}; the figures are in the table below"'
    return (
        f"<h2>{escape(name)} on {escape(data)}</h2>"
        f'<p class="soft">{architecture.parameters:,} parameters. The curves show {escape(what)}. The bands are one '
        "standard deviation over seeds, the dotted line is what guessing reaches.</p>"
        f'<div class="chart" {picture}>{svg(architecture)}</div>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"<ul>{_items(architecture.notes)}</ul>"
    )


def _initializer(init: str) -> str:
    """Return an initializer's name and what it is, in its own words where there are no plainer ones."""
    first, then = split_chain(init)
    kind = _kind(first)
    said = [_PLAIN.get(kind) or _first_paragraph(initializers.get(kind))]
    said += [f"Then: {_first_paragraph(modifiers.get(_kind(modifier)))}" for modifier in then]
    return f"<dt>{escape(init)}</dt><dd>{escape(' '.join(said))}</dd>"


def _kind(spec: str) -> str:
    return Spec.parse(spec.partition("?")[0]).kind


def _first_paragraph(kind: type) -> str:
    return " ".join((kind.__doc__ or "").strip().partition("\n\n")[0].split())


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{escape(line)}</li>" for line in lines)


def _provenance(environment: Environment) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in environment.versions.items())
    where = f"{environment.device} ({environment.processor}, {environment.threads} threads)"
    commit = f" Commit {environment.commit}." if environment.commit else ""
    return f"Made on {where} with {versions}.{commit} All figures: results.json beside this page."
