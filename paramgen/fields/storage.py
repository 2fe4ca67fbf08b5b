"""A field as one small file: two vectors of 8-bit numbers in a safetensors file, and the design in its header."""

import json
from dataclasses import asdict, fields
from math import isfinite
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from paramgen.errors import OptionError, one_line
from paramgen.fields import Design, Field
from paramgen.storage.regular import refuse_irregular

MAX_FIELD_BYTES: Final = 2_000_000  # of a file: the longest latent vector, the biases and a header
_KEY: Final = "field"
_SCALES: Final = ("latent_scale", "bias_scale")
_MAX_SCALE: Final = 1e6
_ADVICE: Final = "Type a file that paramgen field fit wrote"


def field_bytes(field: Field) -> bytes:
    """Return the bytes of a field's file: the same field gives the same bytes."""
    about = {**asdict(field.design), **{name: getattr(field, name) for name in _SCALES}}
    tensors = {"biases": field.biases, "latent": field.latent}
    return save(tensors, metadata={_KEY: json.dumps(about, separators=(",", ":"))})


def read_field(file: Path) -> Field:
    """Return the field of a file, which may be anybody's.

    Raises:
        OptionError: It is no file, is too large, or holds anything else than one field within its limits.
    """
    refuse_irregular(file, OptionError, _ADVICE)
    if not file.is_file():
        raise OptionError(f"There is no file {str(file)!r}. {_ADVICE}")
    if (size := file.stat().st_size) > MAX_FIELD_BYTES:
        raise OptionError(f"{file} has {size:,} bytes; a field has at most {MAX_FIELD_BYTES:,}. {_ADVICE}")
    try:
        with safe_open(file, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})[_KEY])
            held = {name: opened.get_slice(name) for name in list(opened.keys())}
            design, scales = _described(about)
            wanted = {"latent": [design.latent], "biases": [design.biases]}
            if {name: [*each.get_shape(), each.get_dtype()] for name, each in held.items()} != {
                name: [*shape, "I8"] for name, shape in wanted.items()
            }:
                raise ValueError("its tensors are not those of its design")
            latent, biases = (opened.get_tensor(name) for name in wanted)
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise OptionError(f"{file} is no field ({type(error).__name__}: {one_line(error)}). {_ADVICE}") from error
    return Field(design=design, latent=latent.to(torch.int8), biases=biases.to(torch.int8), **scales)


def _described(about: Any) -> tuple[Design, dict[str, float]]:
    """Return the design and the scales of a header; all of them, and nothing else."""
    names = [each.name for each in fields(Design)]
    if not isinstance(about, dict) or set(about) != {*names, *_SCALES}:
        raise ValueError("its header is not that of a field")
    scales = {name: about[name] for name in _SCALES}
    for value in scales.values():
        if type(value) is not float or not isfinite(value) or not 0 < value <= _MAX_SCALE:
            raise ValueError(f"a scale is {one_line(repr(value))}")
    return Design(**{name: about[name] for name in names}), scales
