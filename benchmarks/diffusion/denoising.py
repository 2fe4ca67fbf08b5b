"""How many steps of denoising, and how much guidance? `python -m benchmarks.diffusion.denoising PIPELINE ...`.

Weights for unseen edits are denoised with several options and evaluated before any training: by the mean distance of
their outputs from the edited pictures. The baselines are the base checkpoint, and leaving the picture as it is. The
result goes to `cards/results/edits_denoising.json`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any, Final

import torch
import typer
from torch import Tensor

from benchmarks.provenance import provenance
from checkpoints.examples import Pairs
from checkpoints.generator import generator
from checkpoints.pictures import edited, pictures
from checkpoints.tasks import EditTask
from checkpoints.train import read_edit_tasks
from paramgen.diffusion.loading import open_pipeline
from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.errors import ParamgenError
from paramgen.slots.init_program import slot_generator
from paramgen.storage.folder import write_text

RESULT: Final = Path("cards") / "results" / "edits_denoising.json"
PICTURES: Final = 32
OPTIONS: Final[Sequence[Mapping[str, Any]]] = (
    *({"num_inference_steps": steps} for steps in (1, 2, 4, 8, 20)),
    *({"num_inference_steps": 1, "guidance_scale": scale} for scale in (1.5, 2.0, 3.0)),
    *({"num_inference_steps": 8, "guidance_scale": scale} for scale in (1.5, 2.0)),
    {"num_inference_steps": 8, "guidance_scale": 2.0, "optimized_scale": True},
    {"num_inference_steps": 8, "guidance_scale": 2.0, "optimized_scale": True, "zero_init_steps": 1},
)


@torch.no_grad()
def distances(states: Sequence[Mapping[str, Tensor]], pairs: Pairs) -> list[float]:
    """Return the mean distance, 0 to 2, of the outputs of each network from the edited pictures."""
    inputs, wanted = pairs.at(torch.arange(PICTURES))
    module = generator()
    made = (pairs.outputs(module, state, inputs) for state in states)
    return [float((own.clamp(-1, 1) - target).abs().mean()) for own, target in zip(made, wanted, strict=True)]


def denoised(pipeline: WeightDiffusionPipeline, unseen: Sequence[EditTask], options: Mapping[str, Any]) -> list[Any]:
    """Return the weights of each edit; the initial noise is always the same."""
    found = []
    for edit in unseen:
        noise = slot_generator(0, "diffusion", stream="0")
        (states,) = pipeline(edit.texts[0], generator=noise, return_dict=False, **options)
        found.append(states[0])
    return found


def run(pipelines: Sequence[Path], zoo: Path, data: str) -> dict[str, Any]:
    """Return the whole result."""
    unseen = [task for task in read_edit_tasks(zoo) if task.split == "test"]
    given = pictures(data, PICTURES)
    pairs = Pairs(inputs=given, targets=torch.stack([edited(task, given) for task in unseen]))
    inputs, wanted = pairs.at(torch.arange(PICTURES))
    plain = [float(each) for each in (inputs - wanted).abs().mean((1, 2, 3, 4))]
    found: dict[str, Any] = {}
    for folder in pipelines:
        pipeline = open_pipeline(str(folder)).pipeline
        base = dict(pipeline.base.state_dict())
        rows: list[dict[str, Any]] = [{"options": "base checkpoint", **summary(distances([base] * len(unseen), pairs))}]
        for options in OPTIONS:
            rows.append({"options": dict(options), **summary(distances(denoised(pipeline, unseen, options), pairs))})
            sys.stderr.write(f"{folder.name} {rows[-1]}\n")
        found[pipeline.scheduler.config.get("prediction_type", "flow")] = rows
    return {**provenance(), "edits": len(unseen), "pictures": PICTURES, "untouched": summary(plain), "pipelines": found}


def summary(every: Sequence[float]) -> dict[str, float]:
    """Return mean and median over the edits."""
    return {"mean": round(mean(every), 4), "median": round(median(every), 4)}


def main(
    pipelines: Annotated[list[Path], typer.Argument(help="Folders of pipelines.")],
    zoo: Annotated[Path, typer.Option(help="The zoo that they were trained on.")],
    data: Annotated[str, typer.Option(help="The pictures of the zoo.")],
) -> None:
    """Measure options of denoising."""
    try:
        result = run(pipelines, zoo, data)
    except ParamgenError as error:
        sys.stderr.write(f"error: {error.message}\n")
        raise typer.Exit(2) from error
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
