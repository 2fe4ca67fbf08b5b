"""The variance of what each layer returns, measured in one run of a network, or brought to given values in that run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.slots.torch_internals import TorchDispatchMode

_PLACES: Final[Mapping[str, tuple[int, int | None]]] = {  # operation -> places of weight and bias
    "convolution": (1, 2),
    "addmm": (2, 0),
    "baddbmm": (2, 0),
    "mm": (1, None),
    "bmm": (1, None),
}


@final
class OutputVariances(TorchDispatchMode):
    """Measure, and where there are targets scale in place, each weight when it is first used; biases are left out.

    Weights are known by their memory. What a layer makes of its input is linear in its weight, so one step brings the
    variance to its target, before what comes behind it is computed; the loop of LSUV has nothing left to do.

    Args:
        weights: Of linear layers and convolutions, as the network holds them.
        targets: The variance that each is to have; None: they are only measured.

    """

    def __init__(self, weights: Mapping[str, Tensor], targets: Mapping[str, float] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, float] = {}  # of weights that were used, before they were scaled
        self._due = {weight.untyped_storage().data_ptr(): (name, weight) for name, weight in weights.items()}
        self._targets = targets

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        outcome = func(*args, **(kwargs or {}))
        places = _PLACES.get(func.overloadpacket.__name__)
        due = None if places is None else self._due.pop(args[places[0]].untyped_storage().data_ptr(), None)
        if places is None or due is None:
            return outcome
        name, weight = due
        plain = outcome
        if places[1] is not None and isinstance(bias := args[places[1]], Tensor):
            plain = outcome - (bias.view(-1, *(1,) * (outcome.dim() - 2)) if places == (1, 2) else bias)
        variance = plain.float().var()
        if not bool(variance.isfinite()) or not float(variance) > 0:
            return outcome
        self.found[name] = float(variance)
        if self._targets is None or name not in self._targets:
            return outcome
        weight.div_((variance / self._targets[name]).sqrt().to(weight.dtype))
        return func(*args, **(kwargs or {}))


@contextmanager
def no_fused_layers() -> Iterator[None]:
    """Keep torch from running a whole transformer layer as one operation, whose weights would not be seen."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
