"""How well weights follow from words: for unseen tasks, denoised weights against those that training found."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.diffusion.denoiser import WeightDenoiser
from training.targets import seed_of
from training.weights.config import WeightsConfig
from training.weights.material import Part
from training.weights.noising import scheduler_of


@torch.no_grad()
def judged(denoiser: WeightDenoiser, validation: Part, train: Part, config: WeightsConfig) -> dict[str, float]:
    """Return squared distances to the checkpoints of unseen tasks, as shares of that of the mean of all training ones.

    `denoised` is of the weights that the first text of each gives, `at_once` of those of a single step of denoising,
    `nearest` of those of the training checkpoint whose texts are most like it. 1 is as good as the mean, 0 is what
    training found. A draw has the spread of what is likely, so it is farther off than the one step, which is its mean.
    """
    text = validation.embeddings[[own[0] for own in validation.texts]]

    def drawn(steps: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(config.seed, "judge"))
        return sampled(denoiser, scheduler_of(config.prediction), text, steps=steps, generator=generator)

    owners = torch.tensor([place for place, own in enumerate(train.texts) for _ in own])
    known = train.embeddings[[each for own in train.texts for each in own]]
    nearest = train.blocks[owners[(text @ known.T).argmax(1)]]
    mean = (validation.blocks - train.blocks.mean(0)).square().sum()
    found = {"at_once": drawn(1), "denoised": drawn(config.judge_steps), "nearest": nearest}
    return {name: round(float((validation.blocks - blocks).square().sum() / mean), 4) for name, blocks in found.items()}


def sampled(
    denoiser: WeightDenoiser, scheduler: Any, text: Tensor, *, steps: int, generator: torch.Generator
) -> Float[Tensor, "batch blocks width"]:
    """Return the blocks that the denoiser makes of noise and words, without guidance."""
    sample = torch.randn(len(text), len(denoiser.config["layers"]), denoiser.config["width"], generator=generator)
    scheduler.set_timesteps(steps)
    for moment in scheduler.timesteps:
        predicted = denoiser(sample, moment.expand(len(text)), text)
        sample = scheduler.step(predicted, moment, sample, return_dict=False)[0]
    return sample
