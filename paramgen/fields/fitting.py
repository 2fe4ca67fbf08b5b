"""Fitting a field to a picture: Adam on the latent vector and the biases, which are rounded in the last steps."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, isfinite, log10, pi
from typing import Any, Final, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from paramgen.errors import OptionError
from paramgen.fields import Design, Field, network
from paramgen.fields.projection import Projection
from paramgen.fields.rendering import in_range, rendered
from paramgen.slots.init_program import one_thread, slot_generator

LEVELS: Final = 127  # of 8 bits with a sign
MAX_FIELD_STEPS: Final = 1_000_000
PIXELS: Final = 1024  # of a step
FIELD_LR: Final = 0.4  # of the latent vector, whose entries are drawn with a std of 1, at most
LR_WIDTH: Final = 8.0  # the same, times the width: wide networks diverge at rates that narrow ones need
BIAS_LR: Final = 2e-3
_BETAS: Final = (0.9, 0.99)
_ROUNDED: Final = 0.2  # share of the steps, the last ones, that see what will be stored
_RISING: Final = 0.05
_REPORTS: Final = 20

Report = Callable[[str, int, int], None]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A field and how near to its picture it is."""

    field: Field
    psnr: float  # in decibels, of the picture as it is rendered, in whole numbers


def fit(
    picture: UInt8[Tensor, "channels height width"], design: Design, steps: int, report: Report | None = None
) -> Fit:
    """Fit a field to a picture; the same picture, design and steps give the same field.

    Raises:
        OptionError: `steps` is no number of steps, or the training diverged.
    """
    if type(steps) is not int or not 1 <= steps <= MAX_FIELD_STEPS:
        raise OptionError(f"The number of steps is {steps!r}. Allowed: 1 to {MAX_FIELD_STEPS:,}. Type: --steps 2000")
    with one_thread():
        latent, biases = _trained(picture, design, steps, report)
        (codes, scale), (bias_codes, bias_scale) = (rounded(each.detach()) for each in (latent, biases))
        field = Field(
            design=design, latent=codes, biases=bias_codes, latent_scale=float(scale), bias_scale=float(bias_scale)
        )
        return Fit(field=field, psnr=psnr(rendered(field), picture))


def psnr(one: UInt8[Tensor, "..."], other: UInt8[Tensor, "..."]) -> float:
    """Return the peak signal-to-noise ratio of two pictures, in decibels; of equal ones 100."""
    error = float((one.double() - other.double()).square().mean())
    return 100.0 if error == 0 else min(100.0, 10 * log10(255**2 / error))


def _trained(
    picture: UInt8[Tensor, "channels height width"], design: Design, steps: int, report: Report | None
) -> tuple[Float[Tensor, " latent"], Float[Tensor, " biases"]]:
    projection, generator = Projection(design), slot_generator(design.seed, "pixels", stream="field")
    latent = torch.randn(design.latent, generator=generator).requires_grad_()
    biases = torch.zeros(design.biases, requires_grad=True)
    rows = [rows for rows, _ in design.shapes]

    def colours(inputs: Float[Tensor, "pixels inputs"], stored: bool) -> Float[Tensor, "pixels channels"]:
        seen = (through(latent), through(biases)) if stored else (latent, biases)
        return network(inputs, projection(seen[0]), list(seen[1].split(rows)))

    groups = [
        {"params": [latent], "peak": min(FIELD_LR, LR_WIDTH / design.width)},
        {"params": [biases], "peak": BIAS_LR},
    ]
    descend(picture, design, colours, groups, steps=steps, generator=generator, report=report)
    return latent, biases


def descend(
    picture: UInt8[Tensor, "channels height width"],
    design: Design,
    colours: Callable[[Tensor, bool], Tensor],
    groups: list[dict[str, Any]],
    *,
    steps: int,
    generator: torch.Generator,
    report: Report | None = None,
) -> None:
    """Bring colours near those of a picture, at random pixels in each step.

    Args:
        picture: What is fitted.
        design: Says how pixels become inputs.
        colours: Returns the colours at some inputs; in the last steps of what will be stored, rounded.
        groups: The parameters, as an optimizer takes them, each group with its largest learning rate, `peak`.
        steps: How many.
        generator: Chooses the pixels.
        report: Called with the error, the steps done and all steps.

    """
    wanted, size = picture.flatten(1).T.contiguous(), (picture.shape[1], picture.shape[2])
    optimizer = torch.optim.Adam(groups, betas=_BETAS)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * _course(step, steps)
        chosen = torch.randint(len(wanted), (PIXELS,), generator=generator)
        found = colours(design.inputs(chosen, size), step >= (1 - _ROUNDED) * steps)
        loss = (found - in_range(wanted[chosen])).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % max(1, steps // _REPORTS) == 0:
            _tell(float(loss.detach()), step + 1, steps, report)


def _course(step: int, steps: int) -> float:
    """Return the share of the largest learning rate: it rises in the first twentieth, then falls as a cosine."""
    return min(1.0, (step + 1) / (_RISING * steps)) * (1 + cos(pi * step / steps)) / 2


def _tell(loss: float, step: int, steps: int, report: Report | None) -> None:
    if not isfinite(loss):
        raise OptionError(f"The field diverged before step {step:,}; nothing was written. Type: --seed 1")
    if report is not None:
        report(f"step {step:,}, error {loss:.4g}", step, steps)


def rounded(values: Float[Tensor, " count"]) -> tuple[Tensor, Tensor]:
    """Return whole numbers of 8 bits, and what 1 of them stands for."""
    scale = (values.abs().max() / LEVELS).clamp_min(1e-8)
    return (values / scale).round().to(torch.int8), scale


def through(values: Float[Tensor, " count"]) -> Float[Tensor, " count"]:
    """Return what is stored of values; gradients pass as if nothing were rounded."""
    codes, scale = rounded(values.detach())
    return values + (codes * scale - values).detach()
