"""Does a pipeline replay what it was trained on? `python -m benchmarks.diffusion.memorization PIPELINE --zoo ZOO`.

Distances are between updates, in units of the codec's std: the root of the mean square over all values. A sample is
called a copy if it is nearer to a training checkpoint than all but one in twenty checkpoints are to that of another
task. The result also counts the samples that are no farther from a checkpoint than two runs of one task are from each
other, in the median. It goes to `cards/results/NAME.json`, the plot to `cards/figures/NAME.png`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, Any, Final

import torch
import typer
from torch import Tensor

from benchmarks.diffusion.initializations import last_of
from benchmarks.provenance import provenance
from checkpoints.train import read_edit_tasks
from paramgen.diffusion.loading import open_pipeline
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.errors import ParamgenError
from paramgen.modelcard.pictures.canvas import sheet
from paramgen.slots.init_program import slot_generator
from paramgen.storage.folder import write_bytes, write_text
from paramgen.zoo import Zoo

SEEDS: Final = 4
LABELS: Final = {
    "seeds": "two runs of one task",
    "tasks": "a task and the nearest other",
    "seen": "a sample for a known prompt and the nearest checkpoint",
    "unseen": "a sample for an unseen prompt and the nearest checkpoint",
    "draws": "two samples for one prompt",
}


def distances(
    pipeline: WeightDiffusionPipeline, zoo: Zoo, unseen: Sequence[str], *, steps: int
) -> dict[str, list[float]]:
    """Return the distances of each kind."""
    rows = last_of(zoo, seeds={0, 1, 2})
    known = torch.stack([pipeline.codec.normalized(zoo.tensors(row.id)) for row in rows])
    apart = torch.cdist(known, known) / known.shape[1] ** 0.5
    same = torch.tensor([[one.task == other.task for other in rows] for one in rows])
    upper = torch.ones_like(same).triu(1).bool()
    first = [row for row in rows if row.seed == 0]
    seen = [row.texts[0] for row in first[:: max(1, len(first) // len(unseen))]]
    found = {
        "seeds": apart[same & upper].tolist(),
        "tasks": apart.masked_fill(same, torch.inf).amin(1).tolist(),
    }
    draws: list[float] = []
    for kind, prompts in (("seen", seen), ("unseen", unseen)):
        samples = [drawn(pipeline, prompt, steps=steps) for prompt in prompts]
        found[kind] = [float(each) for own in samples for each in _apart(own, known).amin(1)]
        draws += [float(_apart(own[:1], own[1:]).mean()) for own in samples]
    return {**found, "draws": draws}


def drawn(pipeline: WeightDiffusionPipeline, prompt: str, *, steps: int) -> Tensor:
    """Return the normalized updates of several samples for one prompt."""
    text = pipeline.embed(prompt).expand(SEEDS, -1)
    generators = [slot_generator(seed, "diffusion", stream="0") for seed in range(SEEDS)]
    (updates,) = pipeline(
        prompt_embeds=text, num_inference_steps=steps, generator=generators, output_type="update", return_dict=False
    )
    shared = set(pipeline.codec.shared)
    own = [{name: tensor for name, tensor in each.items() if name not in shared} for each in updates]
    return torch.stack([pipeline.codec.normalized(each) for each in own])


def _apart(one: Tensor, other: Tensor) -> Tensor:
    return torch.cdist(one, other) / one.shape[1] ** 0.5


def plot(found: Mapping[str, Sequence[float]], steps: int) -> bytes:
    """Return the plot of all distances as PNG: a row for each kind, a point for each distance."""
    title, subtitle = "Replayed or made?", f"distances between weights; samples are denoised in {steps} steps"
    with sheet(8.0, 4.2, title, subtitle) as (figure, content):
        axes = figure.subplots()
        for row, values in enumerate(found.values()):
            heights = row + 0.3 * (torch.rand(len(values), generator=torch.Generator().manual_seed(row)) - 0.5)
            axes.plot(values, heights.numpy(), ".", markersize=3, alpha=0.4)
            axes.plot([median(values)] * 2, [row - 0.3, row + 0.3], color="#14181f", linewidth=1.5)
        axes.set_yticks(range(len(found)), [LABELS[kind] for kind in found])
        axes.invert_yaxis()
        axes.set_xlabel("root mean square, in units of the std")
        axes.set_xlim(left=0)
    return content.getvalue()


def main(
    pipeline: Annotated[str, typer.Argument(help="The folder of a pipeline.")],
    zoo: Annotated[Path, typer.Option(help="The zoo that it was trained on.")],
    *,
    name: Annotated[str, typer.Option(help="Of result and plot.")] = "memorization",
    steps: Annotated[int, typer.Option(min=1, help="Of denoising.")] = 20,
) -> None:
    """Measure whether a pipeline replays its training checkpoints."""
    try:
        opened, read = open_pipeline(pipeline), Zoo.open(zoo)
        unseen = [task.texts[0] for task in read_edit_tasks(zoo) if task.split == "test"]
        found = distances(opened.pipeline, read, unseen, steps=steps)
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    samples = [*found["seen"], *found["unseen"]]
    near = quantiles(found["tasks"], n=20)[0]
    result: dict[str, Any] = {
        "provenance": provenance(),
        "pipeline": {"name": Path(pipeline).name, "sha256": opened.sha256},
        "steps": steps,
        "seeds": SEEDS,
        "median": {kind: round(median(values), 4) for kind, values in found.items()},
        "smallest": {kind: round(min(values), 4) for kind, values in found.items()},
        "copies": sum(value < near for value in samples),
        "as_near_as_runs": sum(value <= median(found["seeds"]) for value in samples),
        "samples": len(samples),
    }
    write_text(Path(f"cards/results/{name}.json"), json.dumps(result, indent=1) + "\n")
    write_bytes(Path(f"cards/figures/{name}.png"), plot(found, steps))
    sys.stdout.write(json.dumps({key: result[key] for key in ("median", "copies", "samples")}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
