"""The training loop of denoisers: add noise to the blocks of a zoo's checkpoints, and learn to remove it."""

import math
import shutil
import time
from pathlib import Path
from typing import Final, cast, final

import torch
from torch import Tensor

from paramgen.diffusion.blocks import BlockLayout
from paramgen.diffusion.denoiser import WeightDenoiser
from paramgen.errors import OptionError
from paramgen.storage.folder import write_text
from paramgen.zoo import Zoo
from training import checkpoint
from training.averaging import moving_average
from training.log import Log
from training.loop import CONFIG_NAME, check_folder, lr_at
from training.targets import seed_of
from training.weights.config import Denoiser, WeightsConfig
from training.weights.data import load_data
from training.weights.evaluation import evaluated
from training.weights.noising import noised, scheduler_of

PARTS: Final = "parts"


@final
class WeightsRun:
    """One run in one folder, new or continued from its checkpoint. Seed and step alone decide all random numbers."""

    def __init__(self, config: WeightsConfig, folder: Path, zoo: Path, *, resume: bool) -> None:
        self.config, self.folder = config, folder
        check_folder(folder, config.to_json(), resume=resume)
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            shutil.rmtree(folder / PARTS, ignore_errors=True)  # of a run that was killed before it saved
        self.data = load_data(Zoo.open(zoo), config, folder / PARTS)
        torch.manual_seed(config.seed)
        self.denoiser = denoiser_of(config.denoiser, self.data.codec.layout)
        self.average = moving_average(self.denoiser, config.optimization.average)
        self.optimizer = torch.optim.AdamW(
            self.denoiser.parameters(), lr=config.optimization.lr, weight_decay=config.optimization.weight_decay
        )
        self.scheduler = scheduler_of(config.prediction)
        self.step = self.skipped = 0
        if resume:
            self._continue()
        write_text(folder / CONFIG_NAME, config.to_json())
        self.log = Log(folder, step=self.step, steps=config.optimization.steps)

    def run(self, *, minutes: float = math.inf) -> None:
        """Train until the last step or until the time is over, and save."""
        begin = saved = time.monotonic()
        steps = self.config.optimization.steps
        while self.step < steps and time.monotonic() - begin < minutes * 60:
            self.advance()
            if self.data.validation and (self.step % self.config.evaluate_every == 0 or self.step == steps):
                self.log.write({"step": self.step - 1, "evaluation": self._evaluate()})
            if time.monotonic() - saved >= self.config.save_every:
                self.save()
                saved = time.monotonic()
        self.save()
        self.log.close()

    def save(self) -> None:
        """Write the checkpoint."""
        rest = {"step": self.step, "skipped": self.skipped, "data": self.data.digest}
        checkpoint.save(self.folder, self.denoiser, self.average, self.optimizer, rest)

    def advance(self) -> None:
        """Take one step; without a finite gradient the denoiser stays as it was."""
        optimization = self.config.optimization
        for group in self.optimizer.param_groups:
            group["lr"] = lr_at(self.step, optimization)
        torch.manual_seed(seed_of(self.config.seed, "dropout", self.step))
        loss = self._loss(torch.Generator().manual_seed(seed_of(self.config.seed, "step", self.step)))
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), optimization.clip))
        if math.isfinite(norm):
            self.optimizer.step()
            self.average.update_parameters(self.denoiser)
        else:
            self.skipped += 1
        line = {"step": self.step, "loss": [loss.item()], "norm": norm, "lr": self.optimizer.param_groups[0]["lr"]}
        self.log.write({**line, "skipped": self.skipped})
        self.log.show(self.step, loss.item(), None, skipped=self.skipped)
        self.step += 1

    def _loss(self, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of a batch of checkpoints, each with one of its texts or none."""
        train, config = self.data.train, self.config
        chosen = torch.randint(len(train.blocks), (config.optimization.batch,), generator=generator)
        phrases = torch.rand(len(chosen), generator=generator).tolist()
        texts = [train.texts[index] for index in chosen.tolist()]
        indices = [own[int(phrase * len(own))] for own, phrase in zip(texts, phrases, strict=True)]
        text = train.embeddings[indices]
        moved = torch.randn(text.shape, generator=generator) * config.jitter / math.sqrt(text.shape[1])
        prompted = torch.rand(len(chosen), generator=generator) >= config.prompt_dropout
        mixed, times, target = noised(self.scheduler, train.blocks[chosen], config.prediction, generator)
        predicted = self.denoiser(mixed, times, (text + moved) * prompted[:, None])
        return torch.nn.functional.mse_loss(predicted, target)

    def _evaluate(self) -> dict[str, float]:
        assert self.data.validation is not None
        return evaluated(cast(WeightDenoiser, self.average.module), self.data.validation, self.data.train, self.config)

    def _continue(self) -> None:
        """Restore the state of the run from its checkpoint."""
        rest = checkpoint.load(self.folder, self.denoiser, self.average, self.optimizer)
        if rest["data"] != self.data.digest:
            raise OptionError(
                "--data is not the zoo that the run had, or it has grown. Type another --out to begin anew."
            )
        self.step, self.skipped = rest["step"], rest["skipped"]


def denoiser_of(size: Denoiser, layout: BlockLayout) -> WeightDenoiser:
    """Return a fresh denoiser for blocks of a layout, drawn from torch's global generator."""
    return WeightDenoiser(
        layout.width,
        list(layout.layers),
        list(layout.kinds),
        hidden=size.hidden,
        depth=size.depth,
        heads=size.heads,
        dropout=size.dropout,
    )
