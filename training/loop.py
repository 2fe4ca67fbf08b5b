"""The training loop of hypernets: sample networks, compute the gradient of the hypernet, and step."""

import copy
import functools
import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast, final

import torch

from paramgen.errors import OptionError
from paramgen.graphs.views.view import View
from paramgen.hypernets.loading import Predictor, fresh
from paramgen.storage.folder import write_text
from paramgen.storage.json_file import read_json_object
from training import checkpoint, evaluation
from training.averaging import moving_average
from training.config import Config, Optimization, Stage
from training.data.datasets import Dataset, load_dataset
from training.learning import Sampled, Seen, learn
from training.log import Log, mean
from training.processes import accelerator_for, add_up, agreed, collected
from training.spaces import family_of, pool
from training.spaces.design import Design, Span
from training.step_timer import StepTimer
from training.targets import TargetNetwork, seed_of, view_of_design
from training.window import Window

CONFIG_NAME: Final = "config.json"
MAX_CONFIG: Final = 2**20
"""Bytes of a config that are read."""
MILESTONES: Final = "milestones"
_EXAMPLES: Final = 640  # images, or windows of text
_EVALUATION_SPANS: Final[tuple[Span, ...]] = ("wide", "held_out")


@final
class HypernetRun:
    """One run in one folder, new or continued from its checkpoint.

    With several processes each holds the whole hypernet and takes its share of a step's networks; the main one
    evaluates and writes.
    """

    def __init__(
        self, config: Config, folder: Path, data: Mapping[str, Path], *, resume: bool, processes: int | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self.accelerator = accelerator_for(config.optimization.precision, processes)
        self.main = self.accelerator.is_main_process
        check_folder(folder, config.to_json(), resume=resume)
        with self.accelerator.main_process_first():
            cache, device = folder.parent / "cache", self.accelerator.device
            lengths = config.resolutions if config.takes == "text" else ()
            self.datasets = [
                load_dataset(each, data[each.name], cache, device, lengths=lengths) for each in config.datasets
            ]
        torch.manual_seed(config.seed)
        self.hypernet = fresh(config.hypernet).to(device)
        self.average = moving_average(self.hypernet, config.optimization.average)
        self.optimizer = _optimizer(self.hypernet, config.optimization)
        self.step = 0
        self.skipped = 0
        if resume:
            self._continue()
        self.window = Window(config)
        self.log = self._log() if self.main else None

    def run(self, *, minutes: float = math.inf, keep_every: int = 0) -> None:
        """Train until the last step or until the time is over, and save; keep a milestone every so many steps."""
        begin = saved = time.monotonic()
        steps = self.config.optimization.steps
        while self.step < steps and not agreed(self.accelerator, time.monotonic() - begin >= minutes * 60):
            self.advance()
            if self.log and (self.step % self.config.evaluate_every == 0 or self.step == steps):
                self.log.write({"step": self.step - 1, "evaluation": self._evaluate()})
            if self.main and keep_every and self.step % keep_every == 0:
                self._keep()
            if self.log and time.monotonic() - saved >= self.config.save_every:
                self.save()
                saved = time.monotonic()
        if self.log:
            self.save()
            self.log.close()
        self.accelerator.end_training()

    def save(self) -> None:
        """Write the checkpoint."""
        rest = {"step": self.step, "skipped": self.skipped, "data": self._data()}
        checkpoint.save(self.folder, self.hypernet, self.average, self.optimizer, rest)

    def _keep(self) -> None:
        """Write the current average as the folder of a hypernet in bfloat16."""
        narrow = copy.deepcopy(cast(Predictor, self.average.module)).to(torch.bfloat16)
        narrow.save_pretrained(self.folder / MILESTONES / f"{self.step:06}")

    def advance(self) -> StepTimer:
        """Take one step, and return where its time went; without a finite gradient the hypernet stays as it was."""
        clock = StepTimer(self.accelerator.device)
        optimization, stage = self.config.optimization, self.config.stage(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(self.step, optimization)
        self.optimizer.zero_grad()
        sampled = self.sample(stage, clock)
        mine = []
        if sampled:
            share, precision = 1 / stage.networks, self.accelerator.autocast()
            mine = learn(self.hypernet, sampled, stage.objective, share=share, clock=clock, precision=precision)
        seen = self._exchange(mine, stage)
        clock.lap("exchange")
        norm = float(torch.nn.utils.clip_grad_norm_(self.hypernet.parameters(), optimization.clip))
        if math.isfinite(norm) and any(each.finite for each in seen):
            self.optimizer.step()
            self.average.update_parameters(self.hypernet)
        else:
            self.skipped += 1
        clock.lap("optimizer")
        self._record(seen, norm, clock)
        self.step += 1
        return clock

    def sample(self, stage: Stage, clock: StepTimer) -> list[Sampled]:
        """Draw the step's networks, of which every process takes its share, and what they learn from."""
        dataset = self._dataset()
        drawn = []
        for index in range(self.accelerator.process_index, stage.networks, self.accelerator.num_processes):
            seed = seed_of(self.config.seed, "step", self.step, index)
            generator = torch.Generator().manual_seed(seed)
            design = replace(self.window.draw(self.step, generator), classes=dataset.classes)
            clock.lap("sample")
            view = view_for(design, dataset)
            clock.lap("trace")
            target = TargetNetwork.of(design.build, view, seed=seed, device=self.accelerator.device)
            clock.lap("build")
            points = stage.objective.inner_steps + 1 if stage.objective.lookahead else 1
            batches = [dataset.train_batch(design, self.config.optimization.batch, generator) for _ in range(points)]
            clock.lap("data")
            drawn.append(Sampled(index, self.config.families.index(family_of(design)), target, batches))
        return drawn

    def _dataset(self) -> Dataset:
        """Return the data set of this step."""
        generator = torch.Generator().manual_seed(seed_of(self.config.seed, "task", self.step))
        shares = torch.tensor([dataset.share for dataset in self.config.datasets])
        return self.datasets[int(torch.multinomial(shares, 1, generator=generator))]

    def _exchange(self, mine: list[Seen], stage: Stage) -> list[Seen]:
        """Sum the gradients of all processes, and return all their observations in the order of the networks."""
        add_up(self.accelerator, self.hypernet.parameters())
        rows = torch.tensor(mine, dtype=torch.float64).view(-1, len(Seen._fields))
        return [Seen(*row) for row in collected(self.accelerator, rows, stage.networks).tolist()]

    def _record(self, seen: list[Seen], norm: float, clock: StepTimer) -> None:
        if self.log is None:
            return
        line = {
            "step": self.step,
            "dataset": self._dataset().name,
            "family": [self.config.families[int(each.family)] for each in seen],
            "loss": [each.loss for each in seen],
            "last_loss": [each.last_loss for each in seen],
            "accuracy": [each.accuracy for each in seen],
            "residual": [each.residual for each in seen],
            "norm": norm,
            "lr": self.optimizer.param_groups[0]["lr"],
            "broken": sum(not each.finite for each in seen),
            "skipped": self.skipped,
            "seconds": {stage: round(seconds, 5) for stage, seconds in clock.seconds.items()},
        }
        self.log.write(line)
        losses, accuracies = line["loss"], line["accuracy"]
        self.log.show(self.step, mean(losses), mean(accuracies), skipped=self.skipped)

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """Return the accuracy of unseen networks, predicted by the average, on the first data set's test split."""
        found: dict[str, float] = {}
        dataset, config = self.datasets[0], self.config
        for span in _EVALUATION_SPANS:
            designs = _evaluation_designs(
                config.seed,
                config.evaluated,
                span,
                among=config.families,
                classes=dataset.classes,
                resolutions=config.resolutions,
            )
            for index, design in enumerate(designs):
                view = view_for(design, dataset)
                seed = seed_of(config.seed, "judge", index)
                target = TargetNetwork.of(design.build, view, seed=seed, device=self.accelerator.device)
                state = target.state | target.predict(cast(Predictor, self.average.module))
                accuracy = evaluation.accuracy(target.network, state, dataset.test_batches(design, 64, limit=_EXAMPLES))
                found[f"{span} {type(design).__name__} {index}"] = round(accuracy, 4)
        return found

    def _continue(self) -> None:
        """Restore the state of the run from its checkpoint."""
        rest = checkpoint.load(self.folder, self.hypernet, self.average, self.optimizer)
        if rest["data"] != self._data():
            raise OptionError(
                f"--data is not what the run had: {self._data()}, not {rest['data']}. Type its own --data."
            )
        self.step, self.skipped = rest["step"], rest["skipped"]

    def _data(self) -> dict[str, list[int]]:
        """Return the classes and split sizes of each data set, to recognize it on resume."""
        size = max(size for _, size in self.datasets[0].examples)
        return {
            dataset.name: [dataset.classes, *(len(dataset.examples[split, size]) for split in ("train", "test"))]
            for dataset in self.datasets
        }

    def _log(self) -> Log:
        write_text(self.folder / CONFIG_NAME, self.config.to_json())
        return Log(self.folder, step=self.step, steps=self.config.optimization.steps)


@functools.lru_cache(maxsize=8)
def _evaluation_designs(
    seed: int, count: int, span: Span, *, among: tuple[str, ...], classes: int, resolutions: tuple[int, ...]
) -> tuple[Design, ...]:
    """Return the designs that a run is evaluated on, which it never trains on."""
    return pool(seed_of(seed, span), count, span=span, among=among, classes=classes, resolutions=resolutions)


def lr_at(step: int, optimization: Optimization) -> float:
    """Return the learning rate at a step: a linear warmup, then a constant or half a cosine down to the floor."""
    if step < optimization.warmup:
        return optimization.lr * (step + 1) / optimization.warmup
    if optimization.schedule == "constant":
        return optimization.lr
    progress = (step - optimization.warmup) / max(1, optimization.steps - optimization.warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return optimization.lr * (optimization.floor + (1 - optimization.floor) * cosine)


def view_for(design: Design, dataset: Dataset) -> View:
    """Return the view that a hypernet gets of a design that is trained on a data set."""
    view = view_of_design(design)
    return view if dataset.spelling is None else replace(view, spelling=dataset.spelling)


def _optimizer(hypernet: Predictor, optimization: Optimization) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        hypernet.parameters(), lr=optimization.lr, weight_decay=optimization.weight_decay, fused=True
    )


def config_in(folder: Path) -> dict[str, Any]:
    """Return what a run's folder says that it was made with."""
    advice = "Type the folder given to --out."
    return read_json_object(folder / CONFIG_NAME, most=MAX_CONFIG, error=OptionError, advice=advice)


def check_folder(folder: Path, config: str, *, resume: bool) -> None:
    """Refuse to overwrite a run, or to continue one of another config, which is given as JSON."""
    path = folder / CONFIG_NAME
    if resume:
        if not path.exists():
            raise OptionError(f"--resume needs {path}, which does not exist. Leave --resume out to start the run.")
        if config_in(folder) != json.loads(config):
            raise OptionError(f"{path} is not this recipe's config. Type --out with another folder, or restore it.")
    elif (folder / checkpoint.NAME).exists():
        raise OptionError(f"--out {folder} holds a run. Type --resume to continue it, or another --out.")
