"""The weights of a folder that `paramgen prepare` wrote, for the same architecture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, final

from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import OptionError, one_line
from paramgen.graphs.schema import Graph
from paramgen.hub.trained import Trained
from paramgen.initializers import Initializer, NamedTensors, initializers
from paramgen.initializers.inheritance.donor import finite_tensor
from paramgen.initializers.inheritance.network import Network
from paramgen.initializers.library import DEFAULTS, complete_rules, fill_by_rules
from paramgen.slots.manifest import Slot
from paramgen.storage.reading import Stored
from paramgen.storage.record import REPORT, read_record

PREPARED: Final = "prepared"
MAX_PREPARATION_SECONDS: Final = 1e9
_ADVICE: Final = "Type: --init prepared:FOLDER, with a folder that paramgen prepare wrote"


@final
@initializers.register("prepared")
@dataclass(frozen=True, kw_only=True)
class Prepared(Initializer):
    """Weights that a little training made, prepared:FOLDER; what it left alone is drawn anew for each seed."""

    group: ClassVar[str] = "from a trained model"
    applies_to: ClassVar[str] = "networks of the architecture that was prepared"

    path: str = ""  # what `paramgen prepare` wrote: a folder, or a Hub repository, `@revision` after it

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise OptionError(f"path is {self.path!r}. Allowed: a folder or a repository. {_ADVICE}")

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """Return `prepared` for what was trained, the library's rule for the rest and for an output of other sizes.

        Raises:
            OptionError: The folder is of another architecture.
        """
        heads = Network(architecture=architecture, graph=graph).heads
        filled = architecture.manifest.filled
        taken = [slot for slot in filled if self._fits(slot, architecture, output=slot.name in heads)]
        self._refuse_more(architecture)
        return complete_rules(architecture, {slot.name: PREPARED for slot in taken})

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Read one tensor after the other; only what was not trained depends on the seed."""

        def make(slot: Slot) -> Tensor:
            stored = self._stored(slot, architecture)
            assert stored is not None  # by its rule
            return finite_tensor(self.path, stored).to(slot.dtype)

        return fill_by_rules(architecture, self.rules(architecture, graph), make, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        """Return where the folder is, the sha256 of its weights, and how they were made."""
        known = ("how", "steps", "seconds")
        return {**self._trained.describe(), **{key: self._preparation[key] for key in known}}

    def provenance(self) -> Mapping[str, Any]:
        """Return the folder's origin and what its card says of it."""
        return self._trained.provenance()

    @property
    def seconds_before(self) -> float:
        """How long the preparation took."""
        return float(self._preparation["seconds"])

    def remarks(self) -> Sequence[str]:
        """Return what the preparation cost, and that a seed changes little."""
        found = self._preparation
        return (
            f"{one_line(self.path)} was prepared by {one_line(found['how'])} in {found['steps']:,} steps, which took "
            f"{self.seconds_before:,.1f} s; every seed has the same weights but for what the preparation left alone.",
        )

    @cached_property
    def _trained(self) -> Trained:
        needed = ("config.json", REPORT)
        return Trained(path=self.path, init=PREPARED, what="prepared model", advice=_ADVICE, needed=needed)

    @cached_property
    def _record(self) -> Mapping[str, Any]:
        return read_record(self._trained.folder)

    @cached_property
    def _preparation(self) -> Mapping[str, Any]:
        """What the record says of the preparation, read as if anybody had written it.

        Raises:
            OptionError: The folder was not prepared, or its record is not one of ours.
        """
        described = self._record.get("initializer")
        found = described.get("preparation") if isinstance(described, dict) else None
        if not isinstance(found, dict):
            raise OptionError(f"{self.path!r} was not prepared: its {REPORT} names no preparation. {_ADVICE}")
        how, steps, seconds = (found.get(key) for key in ("how", "steps", "seconds"))
        if not isinstance(how, str) or type(steps) is not int or not _is_time(seconds):
            raise OptionError(f"{REPORT} of {self.path!r} does not say how it was prepared. Prepare the folder again")
        return found

    @cached_property
    def _left_alone(self) -> frozenset[str]:
        """The slots that the preparation did not train, by the record."""
        entries = self._record.get("tensors")
        if not isinstance(entries, dict):
            raise OptionError(f"{REPORT} of {self.path!r} lists no tensors. Prepare the folder again")
        return frozenset(
            name for name, entry in entries.items() if isinstance(entry, dict) and entry.get("rule") in DEFAULTS
        )

    def _stored(self, slot: Slot, architecture: Architecture) -> Stored | None:
        """Return the folder's tensor of a slot, under one of its names."""
        names = architecture.manifest.names_of(slot.name)
        return next((self._trained.tensors[name] for name in names if name in self._trained.tensors), None)

    def _fits(self, slot: Slot, architecture: Architecture, *, output: bool) -> bool:
        """Whether a slot takes the folder's tensor; what was not trained, and an output of other sizes, does not."""
        assert self._preparation
        if slot.name in self._left_alone:
            return False
        stored = self._stored(slot, architecture)
        if stored is not None and stored.shape == slot.shape:
            return True
        if output and stored is not None:
            return False
        has = "no tensor" if stored is None else f"one of shape {stored.shape}"
        raise OptionError(
            f"{self.path!r} has {has} for {one_line(slot.name)!r} of {architecture.spec}, whose shape is {slot.shape}: "
            f"it was prepared for another network. Type: --arch {one_line(self._record.get('spec'))}, or --init "
            f"inherit:{one_line(self.path)}"
        )

    def _refuse_more(self, architecture: Architecture) -> None:
        """Refuse a folder with tensors that the architecture has no slot for: it is of another one."""
        more = [name for name in self._trained.tensors if name not in architecture.manifest]
        if more:
            raise OptionError(
                f"{self.path!r} holds {one_line(min(more))!r}, which {architecture.spec} has not: it was prepared for "
                f"another network. Type: --arch {one_line(self._record.get('spec'))}"
            )


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MAX_PREPARATION_SECONDS
