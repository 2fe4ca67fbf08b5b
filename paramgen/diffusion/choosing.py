"""Evaluate weights on pairs of pictures, to choose the best of several samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from paramgen.diffusion.pipeline import WeightDiffusionPipeline
from paramgen.errors import OptionError
from paramgen.images.batch import image_files
from paramgen.images.pictures import fitted, ready, refuse_size

MAX_PAIRS: Final = 256  # of a folder's, the first by name are taken
PicturePairs = tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch channels height width"]]


def pairs_of(folder: Path, network: Any) -> PicturePairs:
    """Return the pictures in `input/` and those of the same names in `target/`, from -1 to 1, as the network sees them.

    Raises:
        OptionError: There are none, one is no picture, or one has no counterpart.

    """
    config = network.config if isinstance(network.config, Mapping) else {}
    if not {"in_channels", "out_channels", "sample_size"} <= config.keys() or not isinstance(
        config["sample_size"], int
    ):
        raise OptionError("pairs are pictures, and the pipeline's network takes none. Leave best_of and pairs out.")
    inputs, targets = (image_files(folder / part) for part in ("input", "target"))
    by_name = {path.name: path for path in targets}
    lonely = next((path.name for path in inputs if path.name not in by_name), None)
    if lonely is not None:
        raise OptionError(f"{str(folder)!r} has input/{lonely}, but no target/{lonely}. Give both the same names.")
    ready("diffusion")
    side = config["sample_size"]
    shapes = (config["in_channels"], side, side), (config["out_channels"], side, side)
    pairs = [(path, by_name[path.name]) for path in inputs[:MAX_PAIRS]]
    first, second = ([_pixels(pair[index], shapes[index]) for pair in pairs] for index in (0, 1))
    return torch.stack(first), torch.stack(second)


@torch.no_grad()
def distance(pipeline: WeightDiffusionPipeline, state: Mapping[str, Tensor], pairs: PicturePairs) -> float:
    """Return the mean absolute distance, 0 to 2, between targets and the outputs of a network with these weights."""
    inputs, targets = pairs
    outputs = functional_call(pipeline.base, dict(state), (inputs, 0)).sample
    if pipeline.config["output"] == "residual":
        outputs = inputs + outputs
    return float((outputs - targets).abs().mean())


def _pixels(path: Path, shape: tuple[int, int, int]) -> Float[Tensor, "channels height width"]:
    refuse_size(str(path), path.stat().st_size)
    (pixels,) = fitted(path.read_bytes(), (shape,), str(path))
    return torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1
