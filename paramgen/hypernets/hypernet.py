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
from paramgen.graphs.views.view import SlotRequest, View
from paramgen.hypernets.config import HypernetConfig
from paramgen.hypernets.grouping import VECTOR_ROLES, Key, grouped, kernel_shape
from paramgen.hypernets.normalization import AsDecoded, bias_of, scale_of, scaled
from paramgen.hypernets.residual import ResidualParametrization, ResidualTerms, residual_vector, residual_weight
from paramgen.hypernets.storage import CONFIG, WEIGHTS, locate, read_json, read_weights, save
from paramgen.hypernets.tiling import cropped, fit_table, fit_vector, pixels, repeated
from paramgen.slots.init_program import slot_generator
from paramgen.storage.digest import cached_sha256

_MAX_DECODED: Final = 1 << 25  # elements of one decoded batch, as long as that is at least one slot
_MAX_SLOTS: Final = 64  # of one batch: intermediate tensors of decoders can be larger than what they return

_CARD: Final = """---
{{ card_data }}
---

# A hypernet of paramgen

Reads the graph of a network and predicts its initial weights. The sizes are in `config.json`.

```python
from paramgen.hypernets.hypernet import Hypernet

hypernet = Hypernet.from_pretrained("this repository or folder")
```
"""

DefaultInitialization = Callable[[str], Tensor]
"""From the name of a slot to its default initialization: a new tensor, which the hypernet may write into."""


class FilledElements(NamedTuple):
    """How many elements of a slot a hypernet predicts, and how many default ones it only scales."""

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
        self.residual = ResidualParametrization(hidden) if config.residual else None
        self.file: Path | None = None  # the weights file this hypernet was read from

    def requests(self, view: View) -> tuple[SlotRequest, ...]:
        """Return the requests that this hypernet fills."""
        return tuple(request for request in view.requests if request.role in self.config.roles)

    def slots(self, view: View) -> tuple[str, ...]:
        """Return the slots that it fills."""
        return tuple(request.slot for request in self.requests(view))

    def filled(self, view: View) -> dict[str, FilledElements]:
        """Return how many elements of each slot it predicts; the class token of a position table keeps its default."""
        return {
            request.slot: FilledElements(pixels(request.shape) if request.role == "position" else prod(request.shape))
            for request in self.requests(view)
        }

    def forward(self, view: View, base: DefaultInitialization | None = None) -> Iterator[tuple[str, Tensor]]:
        """Return an iterator over (slot, weight), one for each of `requests(view)`, differentiable.

        Args:
            view: The graph, in this hypernet's vocabulary.
            base: The default initialization of a slot; a residual parametrization needs it.

        Raises:
            HypernetError: The view is of another vocabulary, or `base` is missing.

        """
        self._check(view, base)
        return ((slot, weight) for _, slot, weight in self._predict(((view, base),)))

    def together(self, networks: Sequence[tuple[View, DefaultInitialization | None]]) -> list[dict[str, Tensor]]:
        """Return every network's weights by slot; slots of one size are decoded in one batch over all networks.

        Args:
            networks: Views and default initializations, each as `forward` takes them.

        """
        for view, base in networks:
            self._check(view, base)
        predicted: list[dict[str, Tensor]] = [{} for _ in networks]
        for index, slot, weight in self._predict(networks):
            predicted[index][slot] = weight
        return predicted

    def _check(self, view: View, base: DefaultInitialization | None) -> None:
        if view.vocabulary != self.config.vocabulary:
            raise HypernetError(
                f"A graph in the {view.vocabulary} vocabulary; this hypernet reads the {self.config.vocabulary} one."
            )
        if self.residual is not None and base is None:
            raise HypernetError(
                "This hypernet changes the default initialization: pass `base`, which returns it for each slot."
            )

    def _predict(
        self, networks: Sequence[tuple[View, DefaultInitialization | None]]
    ) -> Iterator[tuple[int, str, Tensor]]:
        """Yield the network's index, slot and weight."""
        states = [self.encoder(view) for view, _ in networks]
        groups: dict[Key, list[tuple[int, SlotRequest]]] = {}
        for index, (view, _) in enumerate(networks):
            for key, group in grouped(self.requests(view), self.decoder.limits).items():
                groups.setdefault(key, []).extend((index, request) for request in group)
        first = [sum(map(len, states[:index])) for index in range(len(states))]  # rows of each network in the whole
        whole = torch.cat(states)
        for key, members in groups.items():
            decode = self.decoder.vectors if key.vector else self.decoder.weights
            size = min(max(1, _MAX_DECODED // key.elements), _MAX_SLOTS)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                rows = [first[index] + request.node for index, request in batch]
                chosen = whole[torch.tensor(rows, device=whole.device)]
                decoded = decode(chosen, key)
                for raw, terms, (index, request) in zip(decoded, self._terms(chosen), batch, strict=True):
                    yield index, request.slot, self._value(raw, terms, request, *networks[index])
                del decoded, raw  # before the next batch is made

    def _terms(self, states: Float[Tensor, "slots hidden"]) -> list[ResidualTerms | None]:
        """Return how far to move each slot from its default; None where the hypernet predicts the weight itself."""
        if self.residual is None:
            return [None] * len(states)
        scale, gate = self.residual(states)
        return [ResidualTerms(*pair) for pair in zip(scale, gate, strict=True)]

    def _value(
        self,
        raw: Tensor,
        terms: ResidualTerms | None,
        request: SlotRequest,
        view: View,
        base: DefaultInitialization | None,
    ) -> Tensor:
        """Return the slot's tensor from what was decoded for it."""
        if request.role in VECTOR_ROLES:
            vector = raw[0 if request.role == "scale" else 1]
            return self._finite(self._vector(vector, terms, request, base), request).contiguous()
        if request.role == "position":
            return self._finite(fit_table(raw, self._default(request, base)), request)
        shape = kernel_shape(request)
        kernel = cropped(raw, shape)
        factor = self._factor(kernel, shape, request, view)
        if terms is None:  # what is repeated is checked once
            return _weight(self._finite(scaled(kernel, factor), request), request)
        direction = _weight(scaled(kernel, terms.gate * factor), request)
        return self._finite(residual_weight(self._default(request, base), direction, terms.scale), request)

    def _vector(
        self, raw: Tensor, terms: ResidualTerms | None, request: SlotRequest, base: DefaultInitialization | None
    ) -> Tensor:
        vector = fit_vector(raw, request.shape[0])
        if terms is not None:
            return residual_vector(self._default(request, base), vector, terms.gate)
        if isinstance(self.config.normalization, AsDecoded):
            return vector
        return scale_of(vector) if request.role == "scale" else bias_of(vector)

    def _factor(self, kernel: Tensor, shape: tuple[int, ...], request: SlotRequest, view: View) -> float | Tensor:
        """Return what to multiply the slot's kernel with."""
        if request.role == "embedding":
            return 1.0
        used = shape[:2] if len(request.shape) == 2 else shape
        return self.config.normalization.factor(kernel, used, view.initializer_range)

    def _default(self, request: SlotRequest, base: DefaultInitialization | None) -> Tensor:
        """Return the slot's default in this hypernet's dtype; without `base`, a table as torchvision fills it."""
        like = next(self.parameters())
        if base is None:
            drawn = torch.empty(request.shape).normal_(0, 0.02, generator=slot_generator(0, request.slot))
            return drawn.to(like)
        default = base(request.slot)
        if tuple(default.shape) != request.shape:
            raise HypernetError(
                f"The default initialization of {request.slot!r} is of shape {tuple(default.shape)}, not "
                f"{request.shape}."
            )
        return default.detach().to(like)

    def _finite(self, value: Tensor, request: SlotRequest) -> Tensor:
        """Return the value; except in training, raise an error if it is not finite."""
        # The sum is one fast pass; only if it overflows are the elements looked at.
        if not self.training and not isfinite(value.sum().item()) and not bool(value.isfinite().all()):
            raise HypernetError(f"This hypernet predicts values that are not finite for {request.slot!r}.")
        return value

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the weights file this hypernet was read from; None if it was not read from one."""
        return None if self.file is None else cached_sha256(self.file)

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

        Raises:
            HypernetError: There is no such folder or repository, or it holds no hypernet.

        """
        name = str(pretrained_model_name_or_path)
        config = HypernetConfig.from_json(read_json(locate(name, CONFIG, **download)))
        file = locate(name, WEIGHTS, **download)
        hypernet = empty_hypernet(config)
        hypernet.load_state_dict(read_weights(file, hypernet.state_dict()), assign=True)
        hypernet.file = file
        return hypernet.eval()


def _weight(kernel: Tensor, request: SlotRequest) -> Tensor:
    """Return the kernel, repeated, in the slot's shape."""
    if request.in_out:
        kernel = kernel.transpose(0, 1).contiguous()
    return repeated(kernel, *request.shape[:2]).reshape(request.shape).contiguous()


def empty_hypernet(config: HypernetConfig) -> Hypernet:
    """Return a hypernet on the meta device: nothing is allocated or drawn until `load_state_dict(..., assign=True)`."""
    with torch.device("meta"):
        return Hypernet(config)
