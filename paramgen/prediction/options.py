"""The keywords of `paramgen.predict`, for the functions that take the same."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch


class PredictOptions(TypedDict, total=False):
    """The keywords of `predict` that `plan`, `write` and `create` take, too."""

    init: str
    prompt: str | Sequence[str] | None
    then: Sequence[str]
    seed: int
    dtype: str | torch.dtype | None
    overrides: Mapping[str, Any] | None
    example_input: Any
    tokenizer: str | None
    endpoint: str | None
    strict: bool
    trace_timeout: float
    quantize: str | None


class PushOptions(TypedDict, total=False):
    """The keywords of `write` that say where it pushes to."""

    push: str | None
    public: bool
    revision: str | None
    pr: bool
    message: str | None
