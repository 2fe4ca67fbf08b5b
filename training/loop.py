"""The training loop: sample networks, predict, descend a little, send the gradients met back to the hypernet."""

import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import torch
from accelerate import Accelerator

from paramgen.errors import OptionError
from paramgen.hypernets.hypernet import Hypernet
from training import checkpoint, judge
from training.config import Config, Optimization, Stage
from training.data.images import load_images
from training.log import Log
from training.losses import Batch, departure, descend, use_batch_statistics
from training.spaces import pool
from training.spaces.design import RESOLUTIONS, Design, Span
from training.targets import Target, seed_of, view_of_design
from training.window import Window

CONFIG_NAME: Final = "config.json"
_JUDGED_IMAGES: Final = 640
_JUDGED_SPANS: Final[tuple[Span, ...]] = ("wide", "held_out")


@dataclass(slots=True)
class Tally:
    """What one step saw, over its networks."""

    losses: list[float] = field(default_factory=list)
    last_losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    departures: list[float] = field(default_factory=list)
    broken: bool = False

    def line(self, step: int, seconds: float, skipped: int) -> dict[str, Any]:
        """Return the step's line of the log."""
        return {
            "step": step,
            "loss": self.losses,
            "last_loss": self.last_losses,
            "accuracy": self.accuracies,
            "family": self.families,
            "departure": self.departures,
            "seconds": round(seconds, 4),
            "skipped": skipped,
        }


@final
class Run:
    """One run in one folder, from its start or from its checkpoint."""

    def __init__(self, config: Config, folder: Path, data: Path, *, resume: bool) -> None:
        self.config = config
        self.folder = folder
        self.accelerator = Accelerator(mixed_precision=config.optimization.precision)
        if self.accelerator.num_processes > 1:
            raise OptionError(
                f"{self.accelerator.num_processes} processes; this loop runs in one. Type: python -m training"
            )
        _claim(folder, config, resume=resume)
        torch.manual_seed(config.seed)
        self.hypernet = Hypernet(config.hypernet).to(self.accelerator.device)
        self.average = copy.deepcopy(self.hypernet).requires_grad_(False)
        self.optimizer = _optimizer(self.hypernet, config.optimization)
        self.step = 0
        self.skipped = 0
        if resume:
            rest = checkpoint.load(folder, self.hypernet, self.average, self.optimizer)
            self.step, self.skipped = rest["step"], rest["skipped"]
        self.log = Log(folder, step=self.step, steps=config.optimization.steps)
        self.window = Window(config)
        self.judged = {span: pool(seed_of(config.seed, span), config.judged, span=span) for span in _JUDGED_SPANS}
        cache = folder.parent / "cache"
        self.train = {size: load_images(data, "train", size, cache) for size in RESOLUTIONS}
        self.test = {size: load_images(data, "test", size, cache) for size in RESOLUTIONS}

    def run(self, *, minutes: float = math.inf) -> None:
        """Train until the last step or until the time is over, and save."""
        start = saved = time.monotonic()
        steps = self.config.optimization.steps
        while self.step < steps and time.monotonic() - start < minutes * 60:
            self._advance()
            if self.step % self.config.judge_every == 0 or self.step == steps:
                self.log.write({"step": self.step - 1, "judged": self._judge()})
            if time.monotonic() - saved >= self.config.save_every:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        """Write the checkpoint."""
        rest = {"step": self.step, "skipped": self.skipped}
        checkpoint.save(self.folder, self.hypernet, self.average, self.optimizer, rest)

    def _advance(self) -> None:
        """Take one step; one that is not finite anywhere leaves the hypernet as it was."""
        began = time.monotonic()
        optimization = self.config.optimization
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.step, optimization)
        self.optimizer.zero_grad()
        tally = Tally()
        stage = self.config.stage(self.step)
        for index in range(stage.networks):
            self._learn_from(seed_of(self.config.seed, "step", self.step, index), stage, tally)
        norm = torch.nn.utils.clip_grad_norm_(self.hypernet.parameters(), optimization.clip)
        if tally.broken or not bool(torch.isfinite(norm)):
            self.skipped += 1
        else:
            self.optimizer.step()
            self._average()
        self.log.write(tally.line(self.step, time.monotonic() - began, self.skipped) | {"norm": float(norm)})
        self.log.show(self.step, _mean(tally.losses), _mean(tally.accuracies), skipped=self.skipped)
        self.step += 1

    def _learn_from(self, seed: int, stage: Stage, tally: Tally) -> None:
        """Add one network's gradient to the hypernet's."""
        generator = torch.Generator().manual_seed(seed)
        design = self.window.draw(self.step, generator)
        objective = stage.objective
        target = Target.of(design.build, view_of_design(design), seed=seed, device=self.accelerator.device)
        count = objective.inner_steps + 1 if objective.lookahead else 1
        batches = self._batches(design, count, generator)
        with self.accelerator.autocast():
            weights = target.predict(self.hypernet)
            outcome = descend(use_batch_statistics(target.network), target.state, weights, batches, objective)
        tally.losses.append(outcome.losses[0])
        tally.last_losses.append(outcome.losses[-1])
        tally.accuracies.append(outcome.accuracy)
        tally.families.append(type(design).__name__)
        away = departure(weights, target.state)
        tally.departures.append(float(away.detach()))
        if not outcome.finite:
            tally.broken = True
            return
        share = 1 / stage.networks
        # The gradient with respect to each tensor is given: its product with the tensor has that gradient.
        total = sum((weights[name] * gradient).sum() for name, gradient in outcome.gradient.items())
        (share * (total + objective.departure * away)).backward()

    def _batches(self, design: Design, count: int, generator: torch.Generator) -> list[Batch]:
        images = self.train[design.resolution]
        device = self.accelerator.device
        drawn = (images.draw(self.config.optimization.batch, generator) for _ in range(count))
        return [(pixels.to(device), labels.to(device)) for pixels, labels in drawn]

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the hypernet; early on it follows faster."""
        decay = min(self.config.optimization.average, (1 + self.step) / (10 + self.step))
        for kept, new in zip(self.average.parameters(), self.hypernet.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)

    @torch.no_grad()
    def _judge(self) -> dict[str, float]:
        """Return the accuracy at once of the averaged hypernet on held-out networks and test images."""
        found: dict[str, float] = {}
        for span, designs in self.judged.items():
            for index, design in enumerate(designs):
                view = view_of_design(design)
                seed = seed_of(self.config.seed, "judge", index)
                target = Target.of(design.build, view, seed=seed, device=self.accelerator.device)
                state = target.state | target.predict(self.average)
                batches = self.test[design.resolution].batches(64, limit=_JUDGED_IMAGES)
                accuracy = judge.accuracy(target.network, state, batches)
                found[f"{span} {type(design).__name__} {index}"] = round(accuracy, 4)
        return found


def rate_at(step: int, optimization: Optimization) -> float:
    """Return the learning rate at a step: a linear warmup, then a constant or half a cosine down to the floor."""
    if step < optimization.warmup:
        return optimization.rate * (step + 1) / optimization.warmup
    if optimization.schedule == "constant":
        return optimization.rate
    progress = (step - optimization.warmup) / max(1, optimization.steps - optimization.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return optimization.rate * (optimization.floor + (1 - optimization.floor) * cosine)


def _optimizer(hypernet: Hypernet, optimization: Optimization) -> torch.optim.Optimizer:
    return torch.optim.AdamW(hypernet.parameters(), lr=optimization.rate, weight_decay=optimization.weight_decay)


def _claim(folder: Path, config: Config, *, resume: bool) -> None:
    """Make the folder this run's own; refuse to overwrite one, or to continue one of another config."""
    path = folder / CONFIG_NAME
    if resume:
        if not path.exists():
            raise OptionError(f"--resume needs {path}, which does not exist. Leave --resume out to start the run.")
        if json.loads(path.read_text()) != json.loads(config.to_json()):
            raise OptionError(f"{path} is not this recipe's config. Type --out with another folder, or restore it.")
        return
    if (folder / checkpoint.NAME).exists():
        raise OptionError(f"--out {folder} holds a run. Type --resume to continue it, or another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(config.to_json())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
