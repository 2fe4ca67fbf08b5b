"""Seconds per training step by stage: `python -m benchmarks.speed.training_step [RECIPE] [--steps N]`.

A run of the recipe's hypernet on random images takes steps of 1 and of 8 networks, with the recipe's inner steps and
with the gradient at step 0 alone, which is all that the published trainers take. After each step the very same networks
are trained plainly, for as many points on the same images, by the same optimizer: the ratio is what the hypernet adds.
Designs are drawn and traced before, as they are in a window that stands still; what a new design costs is measured on
its own. The table goes to stdout, the figures with commit, hardware and versions to `cards/results/training_step.json`.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.provenance import provenance
from paramgen.hypernets.hypernet import Hypernet
from training.__main__ import recipe
from training.config import Config, Objective, Stage
from training.learning import Sampled
from training.loop import HypernetRun
from training.losses import use_batch_statistics
from training.spaces import sample
from training.step_timer import StepTimer
from training.targets import view_of_design

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "training_step.json"
META_BATCHES: Final = (1, 8)
_WARM: Final = 3


def main() -> None:
    """Measure every case, print the table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", nargs="?", default="first_light")
    parser.add_argument("--steps", type=int, default=30, help="steps per case")
    parser.add_argument("--designs", type=int, default=45, help="networks to draw from")
    given = parser.parse_args()
    chosen = recipe(given.recipe)
    if not isinstance(chosen, Config):
        parser.error(f"{given.recipe} trains no hypernet; type first_light")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = pictures(Path(folder) / "set")
        for networks in META_BATCHES:
            for lookahead in (True, False):
                config = case(chosen, networks, given.designs, steps=given.steps, lookahead=lookahead)
                rows.append(measure(config, Path(folder), data))
                print(
                    json.dumps({key: rows[-1][key] for key in ("networks", "points", "seconds", "ratio")}), flush=True
                )
    fresh = new_design(given.designs)
    print(table(rows, fresh))
    result = {"recipe": given.recipe, "steps": given.steps, "cases": rows, "new_design": fresh}
    RESULTS.write_text(json.dumps({**provenance(), "threads": torch.get_num_threads(), **result}, indent=1) + "\n")


def case(config: Config, networks: int, designs: int, *, steps: int, lookahead: bool) -> Config:
    """Return the recipe with one stage of so many networks, that draws from so many designs of every family."""
    objective = config.stages[0].objective
    objective = objective if lookahead else replace(objective, lookahead=0.0, task=1.0)
    total = steps + _WARM
    return Config(
        hypernet=config.hypernet,
        optimization=replace(config.optimization, steps=total),
        stages=(Stage(until=total, objective=objective, networks=networks),),
        pool=designs,
        evaluate_every=total + 1,
        evaluated=0,
    )


def pictures(root: Path) -> Path:
    """Write a set of random pictures in ten classes."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(10):
            place = root / split / f"class{number}"
            place.mkdir(parents=True)
            for index in range(32):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{index}.png")
    return root


def measure(config: Config, folder: Path, data: Path) -> dict[str, Any]:
    """Return the figures of one case, medians over the steps and means over their networks."""
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = HypernetRun(config, folder / "run", {config.datasets[0].name: data}, resume=False)
    for design in run.window.designs(0):
        view_of_design(replace(design, classes=run.datasets[0].classes))
    # A supernet has no encoder: all of its time is decoding.
    encoding = _watched(run.hypernet.encoder) if isinstance(run.hypernet, Hypernet) else []
    clocks, plain, parameters = [], [], []
    for _ in range(config.optimization.steps):
        encoding.clear()
        stage, again = config.stage(run.step), StepTimer(run.accelerator.device)
        sampled = run.sample(stage, again)
        clock = run.advance()
        encode = sum(encoding)
        clock.seconds |= {"encode": encode, "decode": clock.seconds.pop("predict") - encode}
        clocks.append(clock)
        plain.append(plainly(sampled, stage.objective))
        parameters += [sum(tensor.numel() for tensor in each.target.network.parameters()) for each in sampled]
    run.accelerator.end_training()
    steps, baselines = clocks[_WARM:], plain[_WARM:]
    return {
        "networks": config.stages[0].networks,
        "points": len(sampled[0].batches),
        "batch": config.optimization.batch,
        "mean_parameters": round(sum(parameters) / len(parameters)),
        "seconds": round(median(clock.total for clock in steps), 4),
        "seconds_per_network": round(median(clock.total for clock in steps) / config.stages[0].networks, 4),
        "stages": {name: round(median(each.seconds[name] for each in steps), 4) for name in steps[0].seconds},
        "plain_seconds": round(median(clock.total for clock in baselines), 4),
        "plain_stages": {
            name: round(median(each.seconds[name] for each in baselines), 4) for name in baselines[0].seconds
        },
        "ratio": round(median(a.total / b.total for a, b in zip(steps, baselines, strict=True)), 2),
    }


def _watched(module: nn.Module) -> list[float]:
    """Return a list to which every call of the module adds its seconds."""
    seconds: list[float] = []

    def begin(*_: object) -> None:
        seconds.append(-time.perf_counter())

    def end(*_: object) -> None:
        seconds[-1] += time.perf_counter()

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(end)
    return seconds


def plainly(sampled: Sequence[Sampled], objective: Objective) -> StepTimer:
    """Train the networks from their own starts on the same images, and return where the time went."""
    clock = StepTimer(sampled[0].batches[0][0].device, exact=True)
    for each in sampled:
        network = use_batch_statistics(each.target.network)
        optimizer = torch.optim.Adam(network.parameters(), lr=objective.inner_lr, fused=True)
        for images, labels in each.batches:
            loss = nn.functional.cross_entropy(network(images), labels, label_smoothing=objective.label_smoothing)
            clock.lap("forward")
            optimizer.zero_grad()
            loss.backward()
            clock.lap("backward")
            optimizer.step()
            clock.lap("optimizer")
    return clock


def new_design(count: int) -> dict[str, float]:
    """Return the mean seconds of drawing and of tracing a design that was never seen."""
    generator = torch.Generator().manual_seed(17)
    begin = time.perf_counter()
    designs = [sample(generator, span="wide") for _ in range(count)]
    drawn = time.perf_counter()
    for design in designs:
        view_of_design(design)
    traced = time.perf_counter()
    return {"sample": round((drawn - begin) / count, 4), "trace": round((traced - drawn) / count, 4)}


def table(rows: Sequence[dict[str, Any]], fresh: dict[str, float]) -> str:
    """Return the figures as Markdown, in milliseconds."""
    stages = list(rows[0]["stages"])
    lines = [
        f"| networks | points | step | {' | '.join(stages)} | plain training | ratio |",
        "|---:|" + "---:|" * (len(stages) + 4),
    ]
    for row in rows:
        cells = " | ".join(f"{1e3 * row['stages'][stage]:.1f}" for stage in stages)
        lines.append(
            f"| {row['networks']} | {row['points']} | {1e3 * row['seconds']:.0f} ms | {cells} "
            f"| {1e3 * row['plain_seconds']:.0f} ms | {row['ratio']:.2f} |"
        )
    lines.append(f"\nA new design: {1e3 * fresh['sample']:.0f} ms to draw, {1e3 * fresh['trace']:.0f} ms to trace.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
