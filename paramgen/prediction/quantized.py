"""A prediction of which matrices, kernels and tables are rounded to few bits."""

from dataclasses import replace

from paramgen.errors import OptionError
from paramgen.prediction import Prediction
from paramgen.prediction.rounding import Rounding, rounded_names


def quantized(prediction: Prediction, rounding: Rounding) -> Prediction:
    """Return the same prediction, rounded.

    Raises:
        OptionError: It has nothing that would be.

    """
    architecture = prediction.architecture
    if not rounded_names(architecture.manifest, prediction.dtype_of):
        raise OptionError(f"{architecture.spec!r} has no matrix, kernel or table to round. Leave --quantize out")
    return replace(prediction, rounding=rounding)
