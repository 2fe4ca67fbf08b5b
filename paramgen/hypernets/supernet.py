"""A supernet: shared weights from which networks of all sizes are cut, found by address (Cai et al., 2020, 1908.09791).

The predicted weight of a slot is the leading corner of the shared weight at its address, as in slimmable networks (Yu
et al., 2019, arXiv:1812.08928, §3.1). What the slot has beyond the corner keeps its default initialization: new
channels begin at random, and what they add to the shared ones is scaled down. Rows of tokens are made of the bytes that
spell them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from math import isqrt, prod
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from paramgen.errors import GraphError, HypernetError, one_line
from paramgen.graphs.analysis.address import POSITION_TABLE, TOKEN_TABLE, Address
from paramgen.graphs.analysis.addressed_slots import AddressedSlot, Slice
from paramgen.graphs.views.view import View
from paramgen.hypernets.checks import within
from paramgen.hypernets.hypernet import DefaultInitialization, FilledElements
from paramgen.hypernets.matching import Matches, match_addresses
from paramgen.hypernets.spelled import BYTES, LETTERS, LETTERS_PART, byte_spelling, letters_address, spelled
from paramgen.hypernets.storage import CONFIG, WEIGHTS, locate, read_json, read_weights, save
from paramgen.storage.digest import cached_sha256

KIND: Final = "supernet"
SUPERNET_VERSION: Final = 1
MAX_TENSORS: Final = 10_000
MAX_WEIGHT_ELEMENTS: Final = 1 << 28
MAX_WEIGHT_DIMS: Final = 4
MAX_WEIGHT_NAME: Final = 300  # letters
MAX_WEIGHT_SIZE: Final = 1 << 16  # of one dimension
TABLE_SIDE: Final = 8  # tokens along one side of the shared position table
PIXEL_STD: Final = 0.25  # by which the images are normalized that shared stems read
_ROWS: Final = 4096  # of a table of tokens, made at once
_SMALL: Final = frozenset((POSITION_TABLE, TOKEN_TABLE))  # tables whose rows begin small, as heads do
_FILLED: Final = {"post_scale": 1.0, "pre_scale": 1.0, "layer_scale": 0.1}
_NUMBERS: Final[Mapping[str, type]] = {"token_steps": int, "image_steps": int, "spill": float}


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class SupernetConfig:
    """Which weights are shared, and how layers along the depth of a network share them."""

    tensors: Mapping[Address, tuple[int, ...]]  # their shapes
    token_steps: int  # steps of the depth that have weights of their own, among tokens
    image_steps: int  # the same, at one scale of the image
    spill: float  # factor on the default initialization of what new channels add to the shared ones

    def __post_init__(self) -> None:
        within("token_steps", self.token_steps, 1, 100)
        within("image_steps", self.image_steps, 1, 100)
        within("number of tensors", len(self.tensors), 1, MAX_TENSORS)
        within("elements of all tensors", sum(map(prod, self.tensors.values())), 1, MAX_WEIGHT_ELEMENTS)
        if not 0.0 <= self.spill <= 1.0:
            raise HypernetError(f"spill is {self.spill}; allowed are 0 to 1.")

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as JSON values."""
        tensors = {str(address): list(shape) for address, shape in self.tensors.items()}
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {"kind": KIND, "format_version": SUPERNET_VERSION, **numbers, "tensors": tensors}

    @classmethod
    def from_json(cls, data: object) -> "SupernetConfig":
        """Return the configuration of such values. Nothing is guessed: a missing or an unknown key is an error.

        Raises:
            HypernetError: A key or value is missing, unknown or out of bounds.
        """
        wanted = {"kind", "format_version", "tensors", *_NUMBERS}
        if not isinstance(data, Mapping) or data.keys() != wanted:
            odd = sorted(wanted ^ set(data if isinstance(data, Mapping) else ()))
            raise HypernetError(
                f"{CONFIG} lacks or has too many of {one_line(odd)}; a supernet's has {', '.join(sorted(wanted))}."
            )
        if data["kind"] != KIND or data["format_version"] != SUPERNET_VERSION:
            given, number = _short(data["kind"]), _short(data["format_version"])
            raise HypernetError(
                f"{CONFIG} is of kind {given}, version {number}; this version of paramgen "
                f"reads {KIND!r}, {SUPERNET_VERSION}. Type in a clone of its repository: git pull && pip install ."
            )
        for name, kind in _NUMBERS.items():
            if type(data[name]) is not kind:
                raise HypernetError(f"{CONFIG}: {name} is {_short(data[name])}; it must be a {kind.__name__}.")
        return cls(tensors=_shapes(data["tensors"]), **{name: data[name] for name in _NUMBERS})


@final
class Supernet(nn.Module, PyTorchModelHubMixin, library_name="paramgen", tags=["supernet", "weight-initialization"]):
    """Shared weights; called with a view, it yields the slots' weights."""

    def __init__(self, config: SupernetConfig) -> None:
        super().__init__()
        self.config = config
        self._hub_mixin_config = config.to_json()  # of the dataclass the mixin would make a dict whose keys are dicts
        self.shared = nn.ParameterDict({str(address): torch.empty(shape) for address, shape in config.tensors.items()})
        self.file: Path | None = None  # the weights file it was read from
        self._last: tuple[Mapping[str, AddressedSlot], Matches] | None = (
            None  # what was asked about last, and its matches
        )

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Fill the shared weights as before training: fan-in normal, scales 1, layer scales 0.1, biases 0."""
        for name, shared in self.shared.items():  # in the order of names: the generator is shared
            address = Address.parse(name)
            if address.part == "weight":
                small = address.head or address.function in _SMALL
                std = 0.02 if small else shared[0].numel() ** -0.5
                shared.normal_(0.0, std, generator=generator)
            elif address.part in ("position", "class_token"):
                shared.normal_(0.0, 0.02, generator=generator)
            else:
                shared.fill_(_FILLED.get(address.part, 0.0))
            if address.part == LETTERS_PART:
                shared[:LETTERS] = 1.0

    def slots(self, view: View) -> tuple[str, ...]:
        """Return the slots that it fills, at least in part."""
        return tuple(self._matches(view))

    def filled(self, view: View) -> dict[str, FilledElements]:
        """Return how many elements of each slot that it fills are the shared weights', and how many it scales."""
        matches = self._matches(view).items()
        return {name: self._counted(view, view.addressed_slots[name], slices) for name, slices in matches}

    def _counted(self, view: View, slot: AddressedSlot, slices: Sequence[tuple[Slice, Address]]) -> FilledElements:
        """Count what `_filled` writes, without writing it."""
        first = self.config.tensors[slices[0][1]]
        if slot.form == "position":
            return FilledElements(isqrt(slot.shape[1]) ** 2 * min(slot.shape[2], first[0]))
        if self._letters(slot) is not None:
            spelling = byte_spelling() if view.spelling is None else view.spelling[:, :LETTERS]
            rows = int((spelling[: slot.shape[0]] >= 0).any(1).sum())
            return FilledElements(rows * min(slot.shape[1], first[1]))
        outputs = slot.shape[::-1] if slot.in_out else slot.shape
        cuts = [_cut_of(_rows(outputs, part), self.config.tensors[address], grey=slot.grey) for part, address in slices]
        scaled = sum(cut.spilled for cut in cuts) if self.config.spill != 1.0 else 0
        return FilledElements(sum(cut.elements for cut in cuts), scaled)

    def _matches(self, view: View) -> Matches:
        # Blocks behind rows of tokens that they do not know train worse than the library's own: training/LOG.md.
        found = self._known_slots(view)
        return found if self._can_spell_all(found, view) else {}

    def unspelled(self, view: View) -> bool:
        """Whether it fills nothing only because it does not know how the tokens are spelled."""
        return not self._can_spell_all(self._known_slots(view), view)

    def takes_for_bytes(self, view: View) -> bool:
        """Whether it takes a table of 256 tokens for one of bytes, as no tokenizer is given."""
        tables = (view.addressed_slots[name] for name in self._matches(view))
        return view.spelling is None and any(self._letters(table) is not None for table in tables)

    def _can_spell_all(self, names: Iterable[str], view: View) -> bool:
        return all(self._can_spell(view.addressed_slots[name], view) for name in names)

    def _known_slots(self, view: View) -> Matches:
        last, config = self._last, self.config
        if last is not None and last[0] is view.addressed_slots:  # rules, shares and tensors of one network ask in turn
            return last[1]
        slots = {name: slot for name, slot in view.addressed_slots.items() if slot.shape}  # one number has no rows
        found = match_addresses(
            slots, config.tensors.keys(), token_steps=config.token_steps, image_steps=config.image_steps
        )
        self._last = (view.addressed_slots, found)
        return found

    def _can_spell(self, slot: AddressedSlot, view: View) -> bool:
        """Whether the rows of a table of tokens can be made; true of what is no such table."""
        return self._letters(slot) is None or view.spelling is not None or slot.shape[0] == BYTES

    def forward(self, view: View, base: DefaultInitialization | None = None) -> Iterator[tuple[str, Tensor]]:
        """Return an iterator over (slot, weight), one for each of `slots(view)`, differentiable.

        Args:
            view: The graph, in the native vocabulary.
            base: The default initialization of a slot, for what the shared weights do not cover.

        Raises:
            HypernetError: `base` is missing, or gives a slot of another shape.

        """
        if base is None:
            raise HypernetError(
                "A supernet fills parts of slots: pass `base`, the default initialization of each slot."
            )
        for name, slices in self._matches(view).items():
            shared = [(part, self._weight(address)) for part, address in slices]
            yield name, self._filled(view, view.addressed_slots[name], shared, base(name))

    def together(self, networks: Sequence[tuple[View, DefaultInitialization | None]]) -> list[dict[str, Tensor]]:
        """Return every network's weights by slot."""
        return [dict(self(view, base)) for view, base in networks]

    def _filled(
        self, view: View, slot: AddressedSlot, slices: Sequence[tuple[Slice, Tensor]], default: Tensor
    ) -> Tensor:
        if tuple(default.shape) != slot.shape:
            raise HypernetError(
                f"The default initialization of {slot.slot!r} is of shape {tuple(default.shape)}, not {slot.shape}."
            )
        value = default.detach().to(slices[0][1])  # the largest tables are not copied where they need not be
        value = value if value.is_contiguous() else value.clone()
        if slot.form == "position":
            return _position_table(value, slices[0][1])
        if (letters := self._letters(slot)) is not None:
            return self._words(value, slices[0][1], letters, view.spelling)
        outputs = value.t() if slot.in_out else value
        for part, shared in slices:
            self._cut(outputs[part.start : part.stop], _grey(shared) if slot.grey else shared)
        return value

    def _letters(self, slot: AddressedSlot) -> Tensor | None:
        """Return the scales of letters that go with a table of bytes; None for what has no rows of tokens."""
        address = letters_address(slot.address)
        return self._weight(address) if slot.form == "table" and address in self.config.tensors else None

    def _weight(self, address: Address) -> Tensor:
        """Return a shared weight to compute with; it is kept as it is stored."""
        return self.shared[str(address)].float()

    def _words(self, value: Tensor, table: Tensor, letters: Tensor, spelling: Tensor | None) -> Tensor:
        """Write the rows of tokens into a table, and return it."""
        width = min(value.shape[1], table.shape[1])
        spelling = byte_spelling() if spelling is None else spelling
        count = min(len(value), len(spelling))  # a vocabulary is often padded to a round number
        spelling = spelling[:count, :LETTERS].to(table.device)
        for first in range(0, count, _ROWS):  # the rows of a large vocabulary are not in memory several times
            some = spelling[first : first + _ROWS]
            own = value[first : first + len(some), :width]
            there = (some >= 0).any(1, keepdim=True)  # special tokens keep their default
            own.copy_(torch.where(there, spelled(table[:, :width], letters[:, :width], some), own))
        return value

    def _cut(self, rows: Tensor, shared: Tensor) -> None:
        """Write the corner of a shared weight into the rows of a slice."""
        cut = _cut_of(tuple(rows.shape), tuple(shared.shape))
        if cut.inputs is None:
            rows.view(-1)[: cut.out] = shared[: cut.out]
            return
        if shared.dim() != rows.dim():
            rows, shared = rows.flatten(1), shared.flatten(1)
        if rows.shape[2:] != shared.shape[2:]:
            shared = _resized(shared, rows.shape[2:])
        rows[: cut.out, cut.inputs :] *= self.config.spill
        rows[: cut.out, : cut.inputs] = shared[: cut.out, : cut.inputs]

    def _save_pretrained(self, save_directory: Path) -> None:
        save(self, self.config.to_json(), save_directory)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **download: Any) -> "Supernet":
        """Return the supernet of a folder or Hub repository, as it is stored, to predict with."""
        name = str(pretrained_model_name_or_path)
        config = SupernetConfig.from_json(read_json(locate(name, CONFIG, **download)))
        file = locate(name, WEIGHTS, **download)
        with torch.device("meta"):
            supernet = cls(config)
        supernet.load_state_dict(read_weights(file, supernet.state_dict(), as_stored=True), assign=True)
        supernet.file = file
        return supernet.eval()

    @cached_property
    def at_full_scale(self) -> "Supernet":
        """The same shared weights, which leave what stands beside them as it is (a spill of 1)."""
        other = copy(self)
        other.config, other._last = replace(self.config, spill=1.0), None
        return other

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the weights file it was read from; None if it was not read from one."""
        return None if self.file is None else cached_sha256(self.file)


def _grey(kernel: Tensor) -> Tensor:
    """Return a kernel that answers a grey image as the given one answers the same image in three equal colours."""
    return kernel.sum(1, keepdim=True)


def _resized(kernel: Tensor, size: torch.Size) -> Tensor:
    """Return a kernel of another size that gives the same answer where the image is flat."""
    scaled = nn.functional.interpolate(kernel, size=size, mode="bilinear", align_corners=False, antialias=True)
    return scaled * (prod(kernel.shape[2:]) / prod(size))


def _short(value: object) -> str:
    return one_line(repr(value))


def _shapes(data: object) -> dict[Address, tuple[int, ...]]:
    """Return the shapes of a JSON object; limits first."""
    if not isinstance(data, Mapping) or len(data) > MAX_TENSORS:
        raise HypernetError(f"{CONFIG}: tensors must be an object of at most {MAX_TENSORS:,} shapes.")
    for name, shape in data.items():
        sizes = shape if isinstance(shape, list) and 0 < len(shape) <= MAX_WEIGHT_DIMS else [0]
        if not all(type(size) is int and 0 < size <= MAX_WEIGHT_SIZE for size in sizes):
            raise HypernetError(
                f"{CONFIG}: tensor {_short(name)} is {str(shape)[:60]}; it must be 1 to {MAX_WEIGHT_DIMS} sizes from 1 "
                f"to {MAX_WEIGHT_SIZE}."
            )
    return {_parsed(name): tuple(shape) for name, shape in data.items()}


def _parsed(name: str) -> Address:
    try:
        if len(name) > MAX_WEIGHT_NAME:
            raise GraphError(f"A name of {len(name):,} letters; allowed are {MAX_WEIGHT_NAME}.")
        return Address.parse(name)
    except GraphError as error:
        raise HypernetError(f"{CONFIG}: {error.message} Get the folder again.") from error


def _rows(outputs: tuple[int, ...], part: Slice) -> tuple[int, ...]:
    """Return the shape of the outputs of a slice."""
    stop = outputs[0] if part.stop is None else min(part.stop, outputs[0])
    return (max(0, stop - part.start), *outputs[1:])


class _Cut(NamedTuple):
    """The part of a slice's rows that is cut from a shared weight; a vector has no inputs."""

    out: int
    inputs: int | None
    elements: int
    spilled: int  # elements of the same rows that the cut does not reach


def _cut_of(rows: tuple[int, ...], shared: tuple[int, ...], *, grey: bool = False) -> _Cut:
    """Return what is cut for rows of one shape from a shared weight of another."""
    if len(rows) == 1 or len(shared) == 1:
        count = min(prod(rows), shared[0])
        return _Cut(count, None, count, 0)
    shared = (shared[0], 1, *shared[2:]) if grey else shared
    if len(shared) != len(rows):  # linear layers and 1x1 convolutions are the same map
        rows, shared = (rows[0], prod(rows[1:])), (shared[0], prod(shared[1:]))
    out, inputs, pixels = min(rows[0], shared[0]), min(rows[1], shared[1]), prod(rows[2:])
    return _Cut(out, inputs, out * inputs * pixels, out * (rows[1] - inputs) * pixels)


def _position_table(value: Tensor, shared: Tensor) -> Tensor:
    """Return a position table (1, tokens, width) with the shared one scaled to its side; other tokens stay."""
    tokens, width = value.shape[1], min(value.shape[2], len(shared))
    side = isqrt(tokens)
    scaled = nn.functional.interpolate(shared[None, :width], size=(side, side), mode="bilinear", align_corners=False)
    value[0, tokens - side * side :, :width] = scaled[0].flatten(1).t()
    return value
