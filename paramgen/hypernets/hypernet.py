"""A hypernet: graph to weights (GHN-3, arXiv:2303.04143; LoGAH, arXiv:2405.16287), composed from a configuration."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import Request, View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.departure import Departure, Step, moved_vector, moved_weight
from paramgen.hypernets.grouping import VECTOR_ROLES, Key, grouped, kernel_shape
from paramgen.hypernets.normalization import AsDecoded, bias_of, scale_of, scaled
from paramgen.hypernets.storage import CONFIG, WEIGHTS, file_sha256, locate, read_json, read_weights, save
from paramgen.hypernets.tiling import cropped, fit_table, fit_vector, pixels, repeated
from paramgen.slots.init_program import slot_generator

_MAX_DECODED: Final = 1 << 25  # elements of one decoded batch, as long as that is at least one slot
_MAX_SLOTS: Final = 64  # of one batch: what decoders make on the way can be larger than what they return

_CARD: Final = """---
{{ card_data }}
---

# A hypernet of paramgen

Reads the graph of a network and predicts its initial weights. The sizes stand in `config.json`.

```python
from paramgen.hypernets.hypernet import Hypernet

hypernet = Hypernet.from_pretrained("this repository or folder")
```
"""

Start = Callable[[str], Tensor]
"""Returns the library's own start of a slot: a tensor that belongs to the hypernet, which may write into it."""


class Filled(NamedTuple):
    """How many elements of a slot are a hypernet's own, and how many the library's, which it scales."""

    own: int
    scaled: int = 0


@final
class Hypernet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="paramgen",
    tags=["hypernetwork", "weight-initialization"],
    model_card_template=_CARD,
):
    """Encoder, decoder and normalization; called with a view, it yields the slots' weights."""

    def __init__(self, config: HypernetConfig) -> None:
        super().__init__()
        self.config = config
        hidden = config.encoder.hidden
        self.encoder = config.encoder.build()
        self.decoder = config.decoder.build(hidden)
        self.departure = Departure(hidden) if config.departure else None
        self.file: Path | None = None  # the weights file this hypernet was read from

    def requests(self, view: View) -> tuple[Request, ...]:
        """Return the requests that this hypernet fills."""
        return tuple(request for request in view.requests if request.role in self.config.roles)

    def slots(self, view: View) -> tuple[str, ...]:
        """Return the slots that it fills."""
        return tuple(request.slot for request in self.requests(view))

    def filled(self, view: View) -> dict[str, Filled]:
        """Return how many elements of each slot that it fills it predicts; class tokens of a table are the start's."""
        return {
            request.slot: Filled(pixels(request.shape) if request.role == "position" else prod(request.shape))
            for request in self.requests(view)
        }

    def forward(self, view: View, base: Start | None = None) -> Iterator[tuple[str, Tensor]]:
        """Return an iterator over (slot, weight), one for each of `requests(view)`, differentiable.

        Args:
            view: The graph, in this hypernet's vocabulary.
            base: The library's own start of a slot; departures need it.

        """
        self._check(view, base)
        return ((slot, weight) for _, slot, weight in self._predict(((view, base),)))

    def together(self, networks: Sequence[tuple[View, Start | None]]) -> list[dict[str, Tensor]]:
        """Return every network's weights by slot; slots of one size are decoded in one batch over all networks.

        Args:
            networks: Views and starts, each as `forward` takes them.

        """
        for view, base in networks:
            self._check(view, base)
        predicted: list[dict[str, Tensor]] = [{} for _ in networks]
        for place, slot, weight in self._predict(networks):
            predicted[place][slot] = weight
        return predicted

    def _check(self, view: View, base: Start | None) -> None:
        if view.vocabulary != self.config.vocabulary:
            raise HypernetError(
                f"A graph in the {view.vocabulary} vocabulary; this hypernet reads the {self.config.vocabulary} one."
            )
        if self.departure is not None and base is None:
            raise HypernetError("This hypernet predicts departures: pass `base`, the library's own start of each slot.")

    def _predict(self, networks: Sequence[tuple[View, Start | None]]) -> Iterator[tuple[int, str, Tensor]]:
        """Yield the network's place, slot and weight."""
        states = [self.encoder(view) for view, _ in networks]
        groups: dict[Key, list[tuple[int, Request]]] = {}
        for place, (view, _) in enumerate(networks):
            for key, group in grouped(self.requests(view), self.decoder.limits).items():
                groups.setdefault(key, []).extend((place, request) for request in group)
        first = [sum(map(len, states[:place])) for place in range(len(states))]  # rows of each network in the whole
        whole = torch.cat(states)
        for key, members in groups.items():
            decode = self.decoder.vectors if key.vector else self.decoder.weights
            size = min(max(1, _MAX_DECODED // key.elements), _MAX_SLOTS)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                rows = [first[place] + request.node for place, request in batch]
                chosen = whole[torch.tensor(rows, device=whole.device)]
                decoded = decode(chosen, key)
                for raw, step, (place, request) in zip(decoded, self._steps(chosen), batch, strict=True):
                    yield place, request.slot, self._value(raw, step, request, *networks[place])
                del decoded, raw  # before the next batch is made

    def _steps(self, states: Float[Tensor, "slots hidden"]) -> list[Step | None]:
        """Return how far each slot departs; None where the hypernet predicts the weight itself."""
        if self.departure is None:
            return [None] * len(states)
        scale, gate = self.departure(states)
        return [Step(*pair) for pair in zip(scale, gate, strict=True)]

    def _value(self, raw: Tensor, step: Step | None, request: Request, view: View, base: Start | None) -> Tensor:
        """Return the slot's tensor from what was decoded for it."""
        if request.role in VECTOR_ROLES:
            vector = raw[0 if request.role == "scale" else 1]
            return self._finite(self._vector(vector, step, request, base), request).contiguous()
        if request.role == "position":
            return self._finite(fit_table(raw, self._start(request, base)), request)
        shape = kernel_shape(request)
        kernel = cropped(raw, shape)
        factor = self._factor(kernel, shape, request, view)
        if step is None:  # what is repeated is checked once
            return _weight(self._finite(scaled(kernel, factor), request), request)
        direction = _weight(scaled(kernel, step.gate * factor), request)
        return self._finite(moved_weight(self._start(request, base), direction, step.scale), request)

    def _vector(self, raw: Tensor, step: Step | None, request: Request, base: Start | None) -> Tensor:
        vector = fit_vector(raw, request.shape[0])
        if step is not None:
            return moved_vector(self._start(request, base), vector, step.gate)
        if isinstance(self.config.normalization, AsDecoded):
            return vector
        return scale_of(vector) if request.role == "scale" else bias_of(vector)

    def _factor(self, kernel: Tensor, shape: tuple[int, ...], request: Request, view: View) -> float | Tensor:
        """Return what to multiply the slot's kernel with."""
        if request.role == "embedding":
            return 1.0
        used = shape[:2] if len(request.shape) == 2 else shape
        return self.config.normalization.factor(kernel, used, view.initializer_range)

    def _start(self, request: Request, base: Start | None) -> Tensor:
        """Return the slot's own start in this hypernet's type; without `base`, what torchvision draws for a table."""
        like = next(self.parameters())
        if base is None:
            drawn = torch.empty(request.shape).normal_(0, 0.02, generator=slot_generator(0, request.slot))
            return drawn.to(like)
        start = base(request.slot)
        if tuple(start.shape) != request.shape:
            raise HypernetError(f"The start of {request.slot!r} is of shape {tuple(start.shape)}, not {request.shape}.")
        return start.detach().to(like)

    def _finite(self, value: Tensor, request: Request) -> Tensor:
        """Return the value; except in training, it is an error if it is not finite."""
        # The sum is one fast pass; only if it overflows are the elements looked at.
        if not self.training and not isfinite(value.sum().item()) and not bool(value.isfinite().all()):
            raise HypernetError(f"This hypernet predicts values that are not finite for {request.slot!r}.")
        return value

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the weights file this hypernet was read from; None if it was not read from one."""
        return None if self.file is None else file_sha256(self.file)

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self, self.config.to_json(), save_directory)

    @classmethod
    def from_pretrained(  # the mixin's own prints, trusts the file and skips missing tensors
        cls,
        pretrained_model_name_or_path: str | Path,
        **download: Any,
    ) -> "Hypernet":
        """Return the hypernet of a folder or Hub repository, in float32 and evaluation mode.

        Args:
            pretrained_model_name_or_path: The folder or repository.
            **download: `revision`, `token`, `cache_dir`, `force_download`, `local_files_only` of `hf_hub_download`.

        """
        name = str(pretrained_model_name_or_path)
        config = HypernetConfig.from_json(read_json(locate(name, CONFIG, **download)))
        file = locate(name, WEIGHTS, **download)
        hypernet = empty_hypernet(config)
        hypernet.load_state_dict(read_weights(file, hypernet.state_dict()), assign=True)
        hypernet.file = file
        return hypernet.eval()


def _weight(kernel: Tensor, request: Request) -> Tensor:
    """Return the kernel, repeated, in the slot's shape."""
    if request.in_out:
        kernel = kernel.transpose(0, 1).contiguous()
    return repeated(kernel, *request.shape[:2]).reshape(request.shape).contiguous()


def empty_hypernet(config: HypernetConfig) -> Hypernet:
    """Return a hypernet on the meta device: nothing is allocated or drawn until `load_state_dict(..., assign=True)`."""
    with torch.device("meta"):
        return Hypernet(config)
