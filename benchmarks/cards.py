"""Put the figures of cards/results into the cards of what ships: `python -m benchmarks.cards vision`.

The metadata of a card and what stands between `<!-- NAME -->` and `<!-- /NAME -->` are made of cards/results/NAME.json;
everything else is written by hand and stays. The folder in the wheel gets a copy.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, final

import typer
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from benchmarks.diffusion.denoised_table import denoising_table, initializations_table, memorization_table
from benchmarks.initialization import text
from benchmarks.initialization.rows import JUDGED
from benchmarks.initialization.table import markdown
from paramgen.errors import OptionError, UnknownNameError
from paramgen.storage.folder import write_text

ROOT: Final = Path(__file__).parents[1]
DATA: Final = {
    "cifar10": ("uoft-cs/cifar10", "CIFAR-10"),
    "tiny": ("zh-plus/tiny-imagenet", "Tiny ImageNet"),
    "wikitext2": ("Salesforce/wikitext", "WikiText-2"),
}
"""The identifier and the name of each data set on the Hub."""

Result = Mapping[str, Any]


def first_light_table(result: Result) -> str:
    """Return a row for every network and their mean."""
    lines = ["| network (held out) | parameters | library | hypernet |", "|---|--:|--:|--:|"]
    for row in result["networks"]:
        library, hypernet = row["zero_shot"]["library"], row["zero_shot"]["hypernet"]
        spread = f"{100 * hypernet['mean']:.1f} ± {100 * hypernet['std']:.1f}"
        lines.append(f"| {row['network']} | {row['parameters']:,} | {100 * library['mean']:.1f} | {spread} |")
    library, hypernet = (f"**{100 * result['summary'][f'zero_shot_{name}']:.1f}**" for name in ("library", "hypernet"))
    return "\n".join([*lines, f"| **mean of {len(result['networks'])}** | | {library} | {hypernet} |"])


def first_light_figures(result: Result) -> list[EvalResult]:
    """Return the mean accuracy at step 0."""
    what = f"accuracy without any training, mean of {len(result['networks'])} unseen networks"
    return [_figure("cifar10", "CIFAR-10", what, result["summary"]["zero_shot_hypernet"])]


def vision_figures(result: Result) -> list[EvalResult]:
    """Return the mean accuracies on each data set, and how far above those of the best simple initializations."""
    found = []
    for data, means in result["summary"]["by_data"].items():
        part = result["data"][data]["part"]
        title = DATA.get(data, (data, data))[1] + ("" if part == "all" else f" ({part} classes)")
        networks = f"{means['rows']} unseen network" + ("" if means["rows"] == 1 else "s")
        figures = {
            f"accuracy after {result['steps']} steps from it, mean of {networks}": means["final"][JUDGED],
            f"lead over the best simple initialization of each, mean of {networks}": means["mean_lead"],
            f"accuracy without any training, mean of {networks}": means["zero_shot"][JUDGED],
        }
        found += [_figure(data, title, what, value) for what, value in figures.items()]
    return found


def text_figures(result: Result) -> list[EvalResult]:
    """Return of how many networks the perplexity is lower than from the best simple initialization, and by how much."""
    rows = result["summary"]["rows"]
    figures = {
        "share of networks and texts with a lower perplexity than from the best simple initialization": "wins",
        "perplexity divided by that from the best simple initialization, median": "median_ratio",
    }
    names = ", ".join(dict.fromkeys(row["data"] for row in result["rows"]))
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="text",
            dataset_name=names,
            metric_type=key,
            metric_name=f"{what}, {rows} rows",
            metric_value=result["summary"][key],
        )
        for what, key in figures.items()
    ]


def edits_figures(result: Result) -> list[EvalResult]:
    """Return how far networks are from what is wanted, at once and after training, from denoised weights."""
    own = result["summary"]["denoised"]["l1"]
    edits = len(result["tasks"])
    figures = {"without any training": own["at_0"], f"after {result['steps']} steps from it": own["at_end"]}
    return [
        EvalResult(
            task_type="image-to-image",
            dataset_type=DATA["cifar10"][0],
            dataset_name=DATA["cifar10"][1],
            metric_type="mean_absolute_distance",
            metric_name=f"mean absolute distance (0 to 2) {when}, mean of {edits} unseen edits",
            metric_value=value,
        )
        for when, value in figures.items()
    ]


@final
@dataclass(frozen=True, kw_only=True)
class Card:
    """What of a card is made: its metadata, and a text for each result."""

    folder: str
    tags: tuple[str, ...]
    datasets: tuple[str, ...]
    texts: Mapping[str, Callable[[Result], str]]
    figures: Mapping[str, Callable[[Result], list[EvalResult]]]
    metric: str = "accuracy"


CARDS: Final = {
    "vision": Card(
        folder="vision",
        tags=("paramgen", "weight-initialization", "supernet", "image-classification"),
        datasets=("cifar10", "tiny"),
        texts={"vision": markdown, "vision_real": markdown, "vision_largest": markdown},
        figures={"vision": vision_figures},
    ),
    "text": Card(
        folder="text",
        tags=("paramgen", "weight-initialization", "supernet", "text-generation"),
        datasets=("wikitext2",),
        texts=dict.fromkeys(("text_lr_on_test", "text", "text_more", "text_long", "text_real"), text.markdown),
        figures={"text_lr_on_test": text_figures, "text": text_figures, "text_more": text_figures},
        metric="perplexity",
    ),
    "first-light": Card(
        folder="first_light",
        tags=("paramgen", "weight-initialization", "hypernetwork", "graph-hypernetwork", "image-classification"),
        datasets=("cifar10",),
        texts={"first_light": first_light_table},
        figures={"first_light": first_light_figures},
    ),
    "edits": Card(
        folder="edits",
        tags=("paramgen", "weight-initialization", "weight-diffusion", "image-to-image"),
        datasets=("cifar10",),
        texts={
            "edits_initializations": initializations_table,
            "edits_denoising": denoising_table,
            "edits_memorization": memorization_table,
        },
        figures={"edits_initializations": edits_figures},
        metric="mean absolute distance",
    ),
}


def main(name: Annotated[str, typer.Argument(help=f"One of {', '.join(CARDS)}.")]) -> None:
    """Write cards/NAME.md and the copy in the wheel."""
    card = rendered(name)
    for path in (card_file(name), ROOT / "paramgen" / "pretrained" / CARDS[name].folder / "README.md"):
        write_text(path, card)
        print(path.relative_to(ROOT))


def card_file(name: str) -> Path:
    """Return the file of a card."""
    if name not in CARDS:
        raise UnknownNameError.of("card", name, CARDS)
    return ROOT / "cards" / f"{name}.md"


def rendered(name: str) -> str:
    """Return a card with the figures that its results have now."""
    about, file = CARDS[name], card_file(name)
    body = ModelCard(file.read_text(encoding="utf-8")).text
    data = ModelCardData(
        model_name=name,
        library_name="paramgen",
        license="apache-2.0",
        tags=list(about.tags),
        datasets=[DATA[data][0] for data in about.datasets],
        metrics=[about.metric],
        eval_results=[figure for result, figures in about.figures.items() for figure in figures(_result(result))],
    )
    for result, table in about.texts.items():
        body = _replaced(body, result, table(_result(result)))
    return f"---\n{data.to_yaml()}\n---\n{body}"


def _replaced(text: str, mark: str, content: str) -> str:
    pattern = re.compile(rf"(?<=<!-- {mark} -->\n)(?:.*\n)??(?=<!-- /{mark} -->)", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise OptionError(f"The card has no place for {mark}. Put <!-- {mark} --> and <!-- /{mark} --> on two lines.")
    return pattern.sub(lambda _: f"\n{content}\n\n", text)


def _result(name: str) -> Result:
    found: Result = json.loads((ROOT / "cards" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _figure(data: str, title: str, what: str, value: float) -> EvalResult:
    return EvalResult(
        task_type="image-classification",
        dataset_type=DATA.get(data, (data, data))[0],
        dataset_name=title,
        dataset_split="test",
        metric_type="accuracy_lead" if what.startswith("lead") else "accuracy",
        metric_name=what,
        metric_value=value,
    )


if __name__ == "__main__":
    typer.run(main)
