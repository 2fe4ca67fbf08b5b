"""Evaluate a denoiser on unseen tasks: compare the weights it predicts from prompts with those found by training."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen.diffusion.denoiser import WeightDenoiser
from training.targets import seed_of
from training.weights.config import WeightsConfig
from training.weights.data import CheckpointSplit
from training.weights.noising import scheduler_of


@torch.no_grad()
def evaluated(
    denoiser: WeightDenoiser, validation: CheckpointSplit, train: CheckpointSplit, config: WeightsConfig
) -> dict[str, float]:
    """Return squared distances to the checkpoints of unseen tasks, relative to that of the mean training checkpoint.

    `denoised` is for weights sampled from the first prompt of each task, `at_once` for a single denoising step, and
    `nearest` for the training checkpoint with the most similar prompt. 1 is as good as the mean, 0 is what training
    found. A sample is farther off than a single step, which predicts the mean of the likely weights.
    """
    text = validation.embeddings[[own[0] for own in validation.texts]]

    def drawn(steps: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed_of(config.seed, "judge"))
        return sampled(denoiser, scheduler_of(config.prediction), text, steps=steps, generator=generator)

    owners = torch.tensor([index for index, own in enumerate(train.texts) for _ in own])
    known = train.embeddings[[each for own in train.texts for each in own]]
    nearest = train.blocks[owners[(text @ known.T).argmax(1)]]
    mean = (validation.blocks - train.blocks.mean(0)).square().sum()
    found = {"at_once": drawn(1), "denoised": drawn(config.evaluate_steps), "nearest": nearest}
    return {name: round(float((validation.blocks - blocks).square().sum() / mean), 4) for name, blocks in found.items()}


def sampled(
    denoiser: WeightDenoiser, scheduler: Any, text: Tensor, *, steps: int, generator: torch.Generator
) -> Float[Tensor, "batch blocks width"]:
    """Return blocks sampled for embeddings of prompts, without guidance."""
    sample = torch.randn(len(text), len(denoiser.config["layers"]), denoiser.config["width"], generator=generator)
    scheduler.set_timesteps(steps)
    for timestep in scheduler.timesteps:
        predicted = denoiser(sample, timestep.expand(len(text)), text)
        sample = scheduler.step(predicted, timestep, sample, return_dict=False)[0]
    return sample
