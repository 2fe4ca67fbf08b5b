"""What the page shows of a prediction: a line of JSON for the whole, then one for each tensor as it is predicted.

The last line is of what the network does with these weights before it is trained. The lines are a spooled file like any
other: a slow reader holds no thread, and a repeated request reads what is there.
"""

import json
from collections.abc import Iterator, Mapping
from math import isfinite, prod
from typing import Any, Final
from urllib.parse import urlencode

import torch
from torch import Tensor

from paramgen.errors import one_line
from paramgen.modelcard.card import command_of
from paramgen.modelcard.loading import loading_lines
from paramgen.modelcard.markdown import shell
from paramgen.modelcard.pictures.distributions import SAMPLE, bands_of
from paramgen.modelcard.pictures.layers import kind_of
from paramgen.modelcard.pictures.spectrum import RANKS, spectrum
from paramgen.prediction import Prediction
from paramgen.slots.manifest import Slot
from serve.before_training import before_training, hindrance
from serve.orders import Order
from serve.page_words import on_the_page
from serve.spool import Spooled, Work

BINS: Final = 32
STEP: Final = 4  # of the ranks of a spectrum, every so many
MAX_CURVES: Final = 24
MAX_MATRIX: Final = 1 << 22  # elements of a matrix whose singular values are shown
MEMORY: Final = 16 * MAX_MATRIX * 4  # bytes beside the prediction's: such a matrix, and its factors in double precision
LINE: Final = 2000  # bytes that a line is counted with
FOLDER: Final = "weights"
_RUNS: Final = 64


def lines_of(order: Order) -> Work:
    """Return the work that writes the lines."""

    def write(spooled: Spooled) -> None:
        position = 0
        with open(spooled.descriptor, "wb", closefd=False) as file:
            for line in _lines(order):
                spooled.watch.check()
                position += file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")
                file.flush()
                spooled.advance(position)

    return write


def _lines(order: Order) -> Iterator[dict[str, Any]]:
    prediction = order.prediction
    slots = prediction.architecture.manifest.filled
    yield _head(order, slots)
    indices = {slot.name: index for index, slot in enumerate(slots)}
    curved = _curved(slots)
    kept, runs = dict[str, Tensor](), not hindrance(prediction)
    for name, tensor in prediction:
        if runs:
            kept[name] = tensor
        line = {"index": indices[name], **_numbers(tensor)}
        curve = spectrum(tensor.flatten(1)) if name in curved else None
        if curve is not None:
            line["spectrum"] = [_short(value) for value in curve[::STEP].tolist()]
        yield line
    yield {"before_training": before_training(prediction, kept)}


def _head(order: Order, slots: tuple[Slot, ...]) -> dict[str, Any]:
    """Return what is known before the first tensor."""
    prediction = order.prediction
    layout = prediction.architecture.layout
    record = _record(prediction)
    command = command_of(record, FOLDER)
    return {
        "spec": one_line(prediction.architecture.spec),
        "init": prediction.init,
        "resolved": prediction.resolved_init,
        "explanation": on_the_page(prediction.explanation),
        "next_step": prediction.next_step,
        "parameters": prediction.architecture.manifest.parameters,
        "by_rule": prediction.by_rule,
        "file": order.file,
        "bytes": order.size,
        "query": None if record["requested"]["arch"] is None else urlencode(_query(record)),
        "loading": list(loading_lines(layout.source, layout.config, FOLDER)),
        "command": None if command is None else shell(command),
        "ranks": [rank / (RANKS - 1) for rank in range(0, RANKS, STEP)],
        "tensors": [
            {
                "name": slot.name,
                "shape": list(slot.shape),
                "rule": prediction.rules[slot.name],
                **({"filled_elements": dict(shares)} if (shares := prediction.shares.get(slot.name)) else {}),
                "kind": kind_of(slot.name, slot.shape) if _is_wide(slot) else "vector",
            }
            for slot in slots
        ],
    }


def _record(prediction: Prediction) -> dict[str, Any]:
    """Return the part of a folder's record that determines the command which makes it."""
    dtype = None if prediction.dtype is None else str(prediction.dtype).removeprefix("torch.")
    used = {"init": prediction.init, "initializer": dict(prediction.resolved.describe())}
    return {"requested": prediction.requested.to_json(), **used, "seed": prediction.seed, "dtype": dtype}


def _query(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the query that requests the same by GET."""
    requested = record["requested"]
    query = [("arch", requested["arch"]), ("init", record["init"]), ("seed", str(record["seed"]))]
    query += [("dtype", record["dtype"])] if record["dtype"] else []
    return [*query, *(("set", f"{key}={_typed(value)}") for key, value in requested["overrides"].items())]


def _typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _is_wide(slot: Slot) -> bool:
    return slot.dtype.is_floating_point and len(slot.shape) >= 2 and slot.elements > max(slot.shape)


def _curved(slots: tuple[Slot, ...]) -> frozenset[str]:
    """Return the names of some matrices, evenly spaced, whose singular values cost little."""
    able = [slot.name for slot in slots if _is_wide(slot) and slot.elements <= MAX_MATRIX and _maps(slot)]
    count = min(MAX_CURVES, len(able))
    return frozenset(able[round(index * (len(able) - 1) / max(1, count - 1))] for index in range(count))


def _maps(slot: Slot) -> bool:
    """Whether it maps vectors to vectors; a depthwise convolution maps each channel on its own."""
    return slot.shape[0] > 1 and prod(slot.shape[1:]) > 1 and not (len(slot.shape) > 2 and slot.shape[1] == 1)


def _numbers(tensor: Tensor) -> dict[str, Any]:
    """Return mean, standard deviation, quantiles and histogram of a tensor, or of a sample of a large one."""
    if tensor.is_complex():
        return {}
    values = _sampled(tensor).double()
    values = values[values.isfinite()]
    if not len(values):
        return {}
    bands = bands_of(values)
    low, high = float(values.min()), float(values.max())
    counts = torch.histc(values, BINS, low, high) if high > low else torch.zeros(0)
    return {
        "mean": _short(float(values.mean())),
        "std": _short(float(values.std(correction=0))),
        "least": _short(low),
        "most": _short(high),
        "bands": [_short(value) for value in bands.tolist()],
        "histogram": [int(count) for count in counts.tolist()],
    }


def _sampled(tensor: Tensor) -> Tensor:
    """Return all values, or a sample: evenly spaced runs of neighbours, as a stride could meet a pattern."""
    flat = tensor.reshape(-1)
    if len(flat) <= SAMPLE:
        return flat
    run = SAMPLE // _RUNS
    begins = (number * (len(flat) - run) // (_RUNS - 1) for number in range(_RUNS))
    return torch.cat([flat[begin : begin + run] for begin in begins])


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if isfinite(value) else None
