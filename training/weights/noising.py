"""Noisy blocks at random timesteps, and the target of each prediction type, for the training of a denoiser."""

from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from paramgen._optional.torchvision import ensure_torchvision
from training.weights.config import PredictionType

TIMESTEPS: Final = 1_000


def scheduler_of(prediction: PredictionType) -> Any:
    """Return the scheduler of diffusers for a prediction type."""
    ensure_torchvision()
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    if prediction == "flow":
        return FlowMatchEulerDiscreteScheduler(num_train_timesteps=TIMESTEPS)
    return DDIMScheduler(
        num_train_timesteps=TIMESTEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",  # the first step is at pure noise
    )


def noised(
    scheduler: Any, blocks: Float[Tensor, "batch blocks width"], prediction: PredictionType, generator: torch.Generator
) -> tuple[Tensor, Float[Tensor, " batch"], Tensor]:
    """Return noisy blocks, their timesteps, and the target of the prediction.

    Flow matching mixes on a straight line and predicts its direction (Lipman et al., 2023, arXiv:2210.02747); the
    others are those of DDPM (Ho et al., 2020, arXiv:2006.11239) and of progressive distillation (Salimans & Ho, 2022).
    """
    noise = torch.randn(blocks.shape, generator=generator)
    if prediction == "flow":
        share = torch.rand(len(blocks), generator=generator)
        mixed = torch.lerp(blocks, noise, share[:, None, None])
        return mixed, share * TIMESTEPS, noise - blocks
    times = torch.randint(TIMESTEPS, (len(blocks),), generator=generator)
    mixed = scheduler.add_noise(blocks, noise, times)
    targets = {"sample": blocks, "epsilon": noise}
    target = targets[prediction] if prediction in targets else scheduler.get_velocity(blocks, noise, times)
    return mixed, times.float(), target
