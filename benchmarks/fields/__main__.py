"""Pictures as fields of D'OH and as smaller networks of as many bytes: `python -m benchmarks.fields bytes`.

The pictures are scikit-image's astronaut and camera, 64 pixels a side. Both kinds of network have five hidden layers,
read the same inputs, take the same steps, and store each number in 8 bits; headers are not counted. The smaller network
gets the better of two learning rates for each picture and size, the field the one that paramgen has. SEEDS says how
many seeds, 2 if it does not, and PICTURES which of the two, by name. Minutes on one core; the figures are kept in
`cards/results/fields.json`, and `docs/pictures/fields.png` shows the astronaut and its fields.
"""

import os
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, Final

import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.experiments import run_named, spread
from checkpoints.pictures import tensor
from paramgen.fields import Design, Field, network
from paramgen.fields.files import FREQUENCIES, png
from paramgen.fields.fitting import BIAS_LR, descend, fit, psnr, rounded, through
from paramgen.fields.rendering import rendered
from paramgen.fields.storage import field_bytes
from paramgen.slots.init_program import one_thread, slot_generator

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "fields.json"
SEEDS: Final = range(int(os.environ.get("SEEDS", "2")))
PICTURE: Final = Path(__file__).parents[2] / "docs" / "pictures" / "fields.png"
SHOWN: Final = "astronaut"
SCALE: Final = 3  # of the pictures that are shown
SIDE: Final = 64
BYTES: Final = (600, 1200, 2400, 4800)
LAYERS: Final = 5
STEPS: Final = 1000
RATES: Final = (4e-3, 8e-3)  # of the smaller networks' weights
SCALES: Final = 4 * 2  # bytes of the two numbers that 8-bit numbers are multiplied by


def pictures() -> dict[str, UInt8[Tensor, "channels height width"]]:
    """Return the pictures by name, cut to a square and scaled."""
    from PIL import Image  # of the group `benchmarks`, which the tests do without
    from PIL.ImageOps import fit as cut
    from skimage import data

    found = {name: getattr(data, name)() for name in os.environ.get("PICTURES", "astronaut,camera").split(",")}
    scaled = {name: tensor(cut(Image.fromarray(array), (SIDE, SIDE))) for name, array in found.items()}
    return {name: pixels[:1] if name == "camera" else pixels for name, pixels in scaled.items()}


def designed(width: int | None, latent: int, channels: int, seed: int) -> Design:
    """Return a design of some width and latent vector."""
    size = {"layers": LAYERS, "frequencies": FREQUENCIES, "height": SIDE, "breadth": SIDE}
    return Design.of(latent=latent, width=width, channels=channels, seed=seed, **size)


def of_latent(picture: UInt8[Tensor, "channels height width"], nbytes: int, seed: int) -> tuple[float, Field]:
    """Return how near a field of so many bytes comes, in decibels, and the field."""
    sizes = (designed(None, latent, len(picture), seed) for latent in range(nbytes, 16, -1))
    design = next(each for each in sizes if each.latent + each.biases + SCALES <= nbytes)
    found = fit(picture, design, STEPS)
    return found.psnr, found.field


def of_weights(picture: UInt8[Tensor, "channels height width"], nbytes: int, seed: int) -> tuple[float, int]:
    """Return how near the widest network whose own weights fit into so many bytes comes, and its bytes."""
    channels = len(picture)

    def stored(design: Design) -> int:
        return design.weights + design.biases + 4 * (LAYERS + 2)  # a scale for each layer and one for the biases

    widths = (width for width in range(2, 64) if stored(designed(width, 16, channels, seed)) <= nbytes)
    design = designed(max(widths), 16, channels, seed)
    return max(_trained(picture, design, lr) for lr in RATES), stored(design)


def _trained(picture: UInt8[Tensor, "channels height width"], design: Design, lr: float) -> float:
    generator = slot_generator(design.seed, "weights", stream="benchmark")
    drawn = zip(design.shapes, design.stds, strict=True)
    weights = [(std * torch.randn(shape, generator=generator)).requires_grad_() for shape, std in drawn]
    biases = torch.zeros(design.biases, requires_grad=True)
    rows = [rows for rows, _ in design.shapes]

    def colours(inputs: Tensor, stored: bool) -> Tensor:
        seen = [through(weight) for weight in weights] if stored else weights
        return network(inputs, seen, list((through(biases) if stored else biases).split(rows)))

    groups = [{"params": weights, "peak": lr}, {"params": [biases], "peak": BIAS_LR}]
    with one_thread():
        descend(picture, design, colours, groups, steps=STEPS, generator=generator)
        with torch.no_grad():
            kept = [codes * scale for codes, scale in map(rounded, weights)]
            codes, scale = rounded(biases)
            inputs = design.inputs(torch.arange(SIDE * SIDE), (SIDE, SIDE))
            found = network(inputs, kept, list((codes * scale).split(rows))).clamp(0, 1)
    return psnr((found.T * 255).round().to(torch.uint8).view(picture.shape), picture)


def bytes_() -> dict[str, Any]:
    """Compare both kinds of network on each picture at each size."""
    figures: dict[str, Any] = {}
    shown: list[Tensor] = []
    for name, picture in pictures().items():
        for nbytes in BYTES:
            field, smaller = zip(
                *((of_latent(picture, nbytes, seed), of_weights(picture, nbytes, seed)) for seed in SEEDS),
                strict=True,
            )
            figures.setdefault(name, {})[str(nbytes)] = {
                "field": spread([each for each, _ in field]),
                "smaller network": spread([each for each, _ in smaller]),
                "field width": field[0][1].design.width,
                "file bytes": len(field_bytes(field[0][1])),
                "smaller network bytes": smaller[0][1],
            }
            if name == SHOWN:
                shown += [*([] if shown else [picture]), rendered(field[0][1])]
            print(name, nbytes, figures[name][str(nbytes)], flush=True)
    sheet = torch.cat(shown, 2).repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)
    PICTURE.write_bytes(png(sheet))
    ahead = {
        str(nbytes): sum(
            each[str(nbytes)]["field"]["mean"] > each[str(nbytes)]["smaller network"]["mean"]
            for each in figures.values()
        )
        for nbytes in BYTES
    }
    gains = {
        str(nbytes): round(
            mean(
                each[str(nbytes)]["field"]["mean"] - each[str(nbytes)]["smaller network"]["mean"]
                for each in figures.values()
            ),
            2,
        )
        for nbytes in BYTES
    }
    return {
        "psnr": figures,
        "pictures": len(figures),
        "field ahead": ahead,
        "mean gain": gains,
        "layers": LAYERS,
        "steps": STEPS,
        "side": SIDE,
    }


EXPERIMENTS: Final[dict[str, Callable[[], dict[str, Any]]]] = {"bytes": bytes_}


def main() -> None:
    """Run the experiments that are named."""
    run_named(__doc__.partition("\n")[0], EXPERIMENTS, RESULTS)


if __name__ == "__main__":
    main()
