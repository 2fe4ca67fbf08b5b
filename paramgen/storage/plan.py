"""Where every tensor will stand: files, headers and offsets, all fixed before the first tensor is made.

The format is safetensors (https://github.com/huggingface/safetensors#format): eight bytes that hold the header's
length, a JSON header padded with spaces, the tensors. Headers and order are those of the official writer, so the files
are the same byte for byte. Several files are shared out and indexed as transformers and diffusers do it.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final, final

import torch

from paramgen.errors import IncompleteStateError, OptionError, OutputError

STORED_DTYPES: Final[Mapping[torch.dtype, str]] = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What safetensors calls each dtype, in the order in which the official writer lays them out: wide ones first."""

UNITS: Final[Mapping[str, int]] = {
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", start=1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", start=1)},
}

MAX_SAFETENSORS_HEADER: Final = 100_000_000  # the official reader refuses longer headers
_SUFFIX: Final = ".safetensors"
_RANKS: Final = {dtype: rank for rank, dtype in enumerate(STORED_DTYPES)}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)


@final
@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor to write: its name in the state dict, its shape, and the dtype it has on disk."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return prod(self.shape) * self.dtype.itemsize


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry goes: a file of the plan, and the position of its first byte in that file."""

    entry: Entry
    file: str
    offset: int


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about the files but the tensors themselves."""

    places: Mapping[str, Place]  # in the order in which the entries were given
    heads: Mapping[str, bytes]  # what each weights file begins with: the header's length and the header
    sizes: Mapping[str, int]  # bytes of each weights file, its head included
    index: Mapping[str, bytes] = field(default_factory=dict)  # name and content of the index; empty for a single file

    @property
    def files(self) -> dict[str, int]:
        """Every file that will be written, with its size in bytes."""
        return {**self.sizes, **{name: len(content) for name, content in self.index.items()}}


def plan(
    entries: Iterable[Entry],
    *,
    weights_file: str = "model.safetensors",
    max_shard: int | str = "5GB",
    shardable: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> Plan:
    """Lay out `entries` in one file, or in shards of at most `max_shard` bytes of tensors, filled in the given order.

    A tensor larger than `max_shard` gets a file of its own. Shards and index are named after `weights_file`, which is
    the name of a single file. `shardable` says whether the library that reads the folder knows shards. `metadata`
    stands in every header; without it that is {"format": "pt"}, which transformers insists on.
    """
    limit = parse_size(max_shard)
    ordered = _validated(entries)
    if not weights_file.endswith(_SUFFIX) or "/" in weights_file:
        raise OptionError(f"The weights file is called {weights_file!r}; allowed is a bare name ending in {_SUFFIX}.")
    shards = _share_out(ordered, limit) if shardable else [ordered]
    names = [weights_file]
    if len(shards) > 1:
        stem = weights_file.removesuffix(_SUFFIX)
        names = [f"{stem}-{number:05d}-of-{len(shards):05d}{_SUFFIX}" for number in range(1, len(shards) + 1)]
    found: dict[str, Place] = {}
    heads, sizes = {}, {}
    for name, shard in zip(names, shards, strict=True):
        shard = sorted(shard, key=lambda entry: (_RANKS[entry.dtype], entry.name))
        heads[name] = _head(shard, {"format": "pt"} if metadata is None else metadata, name)
        sizes[name] = len(heads[name])
        for entry in shard:
            found[entry.name] = Place(entry, name, sizes[name])
            sizes[name] += entry.nbytes
    places = {entry.name: found[entry.name] for entry in ordered}
    index = {f"{weights_file}.index.json": _index(places)} if len(shards) > 1 else {}
    return Plan(places, heads, sizes, index)


def parse_size(size: int | str) -> int:
    """Return the number of bytes that `size` stands for: 5GB is 5,000,000,000 bytes, 5GiB is 5,368,709,120."""
    bytes_ = size if isinstance(size, int) else 0
    if isinstance(size, str) and (match := _SIZE.fullmatch(size.strip())):
        factors = {unit.lower(): factor for unit, factor in UNITS.items()}
        # Integers stay integers: a float would round sizes above 2**53.
        number = int(match[1]) if match[1].isdecimal() else float(match[1])
        bytes_ = int(number * factors.get(match[2].lower(), 0))
    if bytes_ < 1:
        raise OptionError(
            f"A size of {size!r} cannot be used; allowed is a number above zero followed by {', '.join(UNITS)}, "
            "as in 5GB or 300KB."
        )
    return bytes_


def _validated(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries as a list, or say which one safetensors cannot hold."""
    ordered = list(entries)
    names = set()
    for entry in ordered:
        if entry.dtype not in STORED_DTYPES:
            known = ", ".join(str(dtype).removeprefix("torch.") for dtype in STORED_DTYPES)
            advice = " Type: --dtype float32, which makes it complex64" if entry.dtype.is_complex else ""
            raise OutputError(
                f"Slot {entry.name!r} is {entry.dtype}, which safetensors cannot hold. It holds {known}.{advice}"
            )
        if entry.name == "__metadata__":
            raise OutputError("A slot is called '__metadata__', a name that safetensors keeps for itself. Rename it.")
        if entry.name in names:
            raise IncompleteStateError(f"Slot {entry.name!r} stands twice among the entries to write; allowed is once.")
        names.add(entry.name)
    return ordered


def _share_out(entries: list[Entry], limit: int) -> list[list[Entry]]:
    """Fill one shard after the other. An entry above the limit goes alone and does not end the shard being filled."""
    done: list[list[Entry]] = []
    current: list[Entry] = []
    filled = 0
    for entry in entries:
        if entry.nbytes > limit:
            done.append([entry])
            continue
        if filled + entry.nbytes > limit:
            done.append(current)
            current, filled = [], 0
        current.append(entry)
        filled += entry.nbytes
    return [*done, current] if current or not done else done


def _head(entries: list[Entry], metadata: Mapping[str, str], file: str) -> bytes:
    """Return the length of the header and the header, padded so that the tensors begin at a multiple of 8 bytes."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    begin = 0
    for entry in entries:
        end = begin + entry.nbytes
        header[entry.name] = {
            "dtype": STORED_DTYPES[entry.dtype],
            "shape": entry.shape,
            "data_offsets": (begin, end),
        }
        begin = end
    content = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    if len(content) > MAX_SAFETENSORS_HEADER:
        raise OutputError(
            f"The header of {file} would have {len(content):,} bytes for {len(entries):,} tensors; safetensors allows "
            f"{MAX_SAFETENSORS_HEADER:,}. Type a smaller --max-shard."
        )
    return len(content).to_bytes(8, "little") + content


def _index(places: Mapping[str, Place]) -> bytes:
    """Return the JSON that tells transformers and diffusers which shard holds which tensor."""
    content = {
        "metadata": {"total_size": sum(place.entry.nbytes for place in places.values())},
        "weight_map": {name: place.file for name, place in places.items()},
    }
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
