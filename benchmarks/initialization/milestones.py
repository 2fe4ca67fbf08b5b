"""How well networks train from a run's milestones.

    python -m benchmarks.initialization.milestones RUN --data cifar10.tar.xz

A run with `--keep-every` keeps its average now and then. From each, and from the default initialization, four networks
that no training has seen are trained for 100 steps: a recipe is worth believing in while what they reach rises. The
figures go to `cards/results/vision_milestones.json`, the curves to `cards/figures/vision_milestones.png`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, Final

import torch
import typer

from benchmarks.initialization.vision_networks import SIZE, Network, networks
from benchmarks.provenance import provenance
from paramgen._optional import require
from paramgen.errors import OptionError, ParamgenError
from paramgen.hypernets.loading import Predictor, load
from paramgen.storage.folder import write_text
from training import evaluation
from training.data.images import Images, Split, load_set
from training.log import NAME as LOG
from training.loop import MILESTONES
from training.targets import TargetNetwork, view_of

RESULT: Final = Path("cards/results/vision_milestones.json")
FIGURE: Final = Path("cards/figures/vision_milestones.png")
NETWORKS: Final = ("timm-convnext-32", "timm-resnet-16", "timm-vit-64", "torchvision-mobilenetv2")
STEPS: Final = 100
LR: Final = 3e-3
_CLASSES: Final = 10
_TEST_IMAGES: Final = 1000
_LIBRARY: Final = 0  # the step at which nothing has been learned

Points = Mapping[int, float]


def measure(
    network: Network, hypernets: Mapping[int, Predictor], images: Mapping[Split, Images], seeds: int
) -> dict[str, Any]:
    """Return the accuracies of one network from each milestone, at once and after training; step 0 is the library."""
    build = network.factory(_CLASSES)
    view = view_of(build, torch.zeros(2, 3, SIZE, SIZE, device="meta"))
    found: dict[str, dict[int, float]] = {"zero_shot": {}, "trained": {}}
    for step, hypernet in {_LIBRARY: None, **hypernets}.items():
        pairs = [
            _pair(TargetNetwork.of(build, view, seed=seed, device=_cpu()), hypernet, images, seed)
            for seed in range(seeds)
        ]
        found["zero_shot"][step], found["trained"][step] = (
            round(mean(values), 4) for values in zip(*pairs, strict=True)
        )
    return {"network": network.name, **found}


def _pair(
    target: TargetNetwork, hypernet: Predictor | None, images: Mapping[Split, Images], seed: int
) -> tuple[float, float]:
    state = target.state
    if hypernet is not None:
        with torch.no_grad():
            state = state | target.predict(hypernet)
    reached = evaluation.fine_tune(target.network, state, images["train"], steps=STEPS, lr=LR, batch=64, seed=seed)
    batches = list(images["test"].batches(64, limit=_TEST_IMAGES))
    first, last = (evaluation.accuracy(target.network, each, batches) for each in (state, reached))
    return first, last


def _cpu() -> torch.device:
    return torch.device("cpu")


def summary(run: Path) -> dict[str, Any]:
    """Return what the log of a run amounts to: its minutes, accuracies over the last tenth of its steps, judgements."""
    steps: dict[int, dict[str, Any]] = {}
    judged = {}
    for line in (run / LOG).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "evaluation" in entry:
            judged[entry["step"] + 1] = entry["evaluation"]
        else:
            steps[entry["step"]] = entry  # a step that was lost and taken again counts once
    late: dict[str, list[float]] = {}
    for entry in list(steps.values())[-max(1, len(steps) // 10) :]:
        late.setdefault(entry["dataset"], []).extend(entry["accuracy"])
    return {
        "steps": len(steps),
        "minutes": round(sum(sum(entry["seconds"].values()) for entry in steps.values()) / 60, 1),
        "training_accuracy": {task: round(mean(values), 4) for task, values in late.items()},
        "judged": judged,
    }


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw accuracy at once and after training over the steps of the run, a line for each network."""
    pyplot = require("matplotlib.pyplot", extra="compare")
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharex=True, layout="constrained")
    titles = {"zero_shot": "accuracy at once", "trained": f"accuracy after {STEPS} steps of training"}
    for panel, (key, title) in zip(axes, titles.items(), strict=True):
        for row in rows:
            points = {int(step): value for step, value in row[key].items()}
            (line,) = panel.plot(
                list(points), [100 * value for value in points.values()], marker="o", ms=3, label=row["network"]
            )
            panel.axhline(100 * points[_LIBRARY], color=line.get_color(), lw=0.8, ls=":")
        panel.set(title=title, xlabel="steps of the supernet's training", ylabel="%")
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    data: Annotated[Path, typer.Option(help="CIFAR-10: a folder or tar of train/<class> and test/<class>.")],
    cache: Annotated[Path, typer.Option(help="Where decoded images are kept.")] = Path("runs/cache"),
    seeds: Annotated[int, typer.Option(min=1, help="Predictions per network.")] = 2,
) -> None:
    """Measure and draw."""
    try:
        folders = sorted((run / MILESTONES).glob("[0-9]*"))
        if not folders:
            raise OptionError(f"{run} holds no {MILESTONES}. Type: python -m training RECIPE --keep-every 8000 ...")
        hypernets = {int(folder.name): load(str(folder)) for folder in folders}
        images_of = load_set(data, (SIZE,), cache)
        images: dict[Split, Images] = {"train": images_of["train", SIZE], "test": images_of["test", SIZE]}
        rows = []
        for network in networks():
            if network.name in NETWORKS:
                rows.append(measure(network, hypernets, images, seeds))
                sys.stderr.write(f"{json.dumps(rows[-1])}\n")
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    about = {
        "recipe": run.name,
        "run": summary(run),
        "data": "cifar10",
        "steps": STEPS,
        "lr": LR,
        "seeds": seeds,
        "networks": rows,
    }
    write_text(RESULT, json.dumps({**about, **provenance()}, indent=1) + "\n")
    draw(rows, FIGURE)


if __name__ == "__main__":
    typer.run(main)
