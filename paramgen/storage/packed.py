"""A folder whose weights are stored in few bits: made of an ordinary one whose weights are rounded, and back again.

Beside what a folder has stand `quantized.safetensors`, with codes and scales, and `quantized.json`, which says what
files they become. Nothing of either is trusted: what is made is known, and planned, before the first tensor is.
"""

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.errors import CheckError, OptionError, OutputError, one_line
from paramgen.storage.digest import cached_sha256
from paramgen.storage.json_file import read_json_object
from paramgen.storage.plan import STORED_DTYPES, Entry, Plan, plan
from paramgen.storage.quantization import SCALE_DTYPE, Encoded, Quantization
from paramgen.storage.reading import Stored, stored, weight_files
from paramgen.storage.record import REPORT, read_record
from paramgen.storage.writer import SafetensorsWriter

QUANTIZED: Final = "quantized.safetensors"
QUANTIZED_FILES: Final = "quantized.json"
QUANTIZED_VERSION: Final = 1
MAX_QUANTIZED_FILES: Final = 100_000_000  # bytes of quantized.json
MAX_AXES: Final = 16
MAX_BESIDE: Final = 1000  # files that are copied
_KEY: Final = "paramgen_quantized"
_CODES, _SCALES = ":codes", ":scales"
_DTYPES: Final = {word: dtype for dtype, word in STORED_DTYPES.items()}
_ONE_FILE: Final = 2**62


@final
@dataclass(frozen=True, kw_only=True)
class Manifested:
    """What a folder in few bits says that it becomes: the size of each file, and how many tensors and elements."""

    quantization: Quantization
    files: Mapping[str, int]
    tensors: int
    elements: int


def is_packed(folder: Path) -> bool:
    """Whether the weights of a folder are stored in few bits."""
    return (folder / QUANTIZED_FILES).is_file()


def packed_plan(entries: Collection[Entry], names: Collection[str], quantization: Quantization) -> Plan:
    """Plan the file that holds some tensors in few bits, and the others as they are."""
    found = []
    for entry in entries:
        if entry.name not in names:
            found.append(entry)
            continue
        codes, scales = quantization.sizes(prod(entry.shape))
        found += [
            Entry(f"{entry.name}{_CODES}", (codes,), torch.uint8),
            Entry(f"{entry.name}{_SCALES}", (scales,), SCALE_DTYPE),
        ]
    return _plan_of(QUANTIZED, found)


def packed_tensors(name: str, tensor: Tensor, quantization: Quantization) -> Iterator[tuple[str, Tensor]]:
    """Yield what is stored of a tensor, which was rounded before.

    Raises:
        OutputError: It was not: other values would be read again.

    """
    encoded = quantization.encode(tensor)
    if not torch.equal(quantization.decode(encoded, tuple(tensor.shape), tensor.dtype), tensor):
        raise OutputError(
            f"{name!r} cannot be stored in {quantization.bits} bits without another loss. Try --dtype float32"
        )
    yield f"{name}{_CODES}", encoded.codes
    yield f"{name}{_SCALES}", encoded.scales


def pack(folder: Path, names: Collection[str], quantization: Quantization) -> None:
    """Store weights of a folder in few bits: those named, which were rounded; files of weights are replaced."""
    files = weight_files(folder)
    entries = {file.name: stored(file) for file in files}
    every = [_entry(each) for found in entries.values() for each in found]
    with SafetensorsWriter(packed_plan(every, names, quantization), folder) as writer:
        for each in (each for found in entries.values() for each in found):
            if each.name in names:
                for name, tensor in packed_tensors(each.name, each.tensor(), quantization):
                    writer.write(name, tensor)
            else:
                writer.write(each.name, each.tensor())
    said = {
        _KEY: QUANTIZED_VERSION,
        "quantize": str(quantization),
        "files": {
            file: {
                each.name: {"dtype": STORED_DTYPES[each.dtype], "shape": list(each.shape), "packed": each.name in names}
                for each in found
            }
            for file, found in entries.items()
        },
    }
    (folder / QUANTIZED_FILES).write_text(json.dumps(said) + "\n", encoding="utf-8")
    for file in files:
        file.unlink()
    record = read_record(folder)
    record["digests"] |= {name: cached_sha256(folder / name) for name in (QUANTIZED, QUANTIZED_FILES)}
    _write_record(folder, record)


def unpack(folder: Path, place: Path) -> None:
    """Write the ordinary folder of one whose weights are stored in few bits into an empty folder.

    Raises:
        CheckError: It is none, or not such as `pack` makes.

    """
    quantization, files = _read(folder)
    there = {each.name: each for each in stored(folder / QUANTIZED)} if (folder / QUANTIZED).is_file() else {}
    every = [entry for found in files.values() for entry in found]
    names = {entry.name for found in files.values() for entry, packed in found.items() if packed}
    wanted = {name: each.entry for name, each in packed_plan(every, names, quantization).places.items()}
    if {each.name: _entry(each) for each in there.values()} != wanted:
        odd = sorted(set(wanted) ^ set(there)) or sorted(name for name in wanted if _entry(there[name]) != wanted[name])
        raise CheckError(f"{folder / QUANTIZED} is not what {QUANTIZED_FILES} says at {one_line(odd[0])!r}. {_AGAIN}")
    _copy(folder, place, but={QUANTIZED, QUANTIZED_FILES, *files})
    for file, found in files.items():
        with SafetensorsWriter(_plan_of(file, found), place) as writer:
            for entry, packed in found.items():
                tensor = _unpacked(entry, there, quantization, folder) if packed else there[entry.name].tensor()
                writer.write(entry.name, tensor)
    record = read_record(place)
    if isinstance(digests := record.get("digests"), dict):
        record["digests"] = {name: each for name, each in digests.items() if name not in (QUANTIZED, QUANTIZED_FILES)}
        _write_record(place, record)


def files_of(folder: Path) -> Manifested:
    """Return what `unpack` would write of a folder.

    Raises:
        CheckError: It is none, or not such as `pack` makes.

    """
    quantization, files = _read(folder)
    planned = [_plan_of(file, found) for file, found in files.items()]
    beside = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    return Manifested(
        quantization=quantization,
        files={
            **{file: size for each in planned for file, size in each.files.items()},
            **{name: size for name, size in beside.items() if name not in (QUANTIZED, QUANTIZED_FILES, REPORT)},
        },
        tensors=sum(map(len, files.values())),
        elements=sum(prod(entry.shape) for found in files.values() for entry in found),
    )


@contextmanager
def ordinary(folder: Path) -> Iterator[Path]:
    """Yield a folder itself or, where its weights are stored in few bits, an ordinary one that is gone afterwards."""
    if not is_packed(folder):
        yield folder
        return
    with TemporaryDirectory() as scratch:
        place = Path(scratch) / (folder.resolve().name or "weights")
        place.mkdir()
        unpack(folder, place)
        yield place


_AGAIN: Final = "Get the folder again."


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    (folder / REPORT).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _plan_of(file: str, entries: Collection[Entry]) -> Plan:
    return plan(entries, weights_file=file, max_shard=_ONE_FILE, shardable=False)


def _entry(each: Stored) -> Entry:
    return Entry(each.name, each.shape, each.dtype)


def _unpacked(entry: Entry, there: Mapping[str, Stored], quantization: Quantization, folder: Path) -> Tensor:
    encoded = Encoded(codes=there[f"{entry.name}{_CODES}"].tensor(), scales=there[f"{entry.name}{_SCALES}"].tensor())
    try:
        return quantization.decode(encoded, entry.shape, entry.dtype)
    except ValueError as error:
        raise CheckError(f"{folder / QUANTIZED} is damaged at {one_line(entry.name)!r}: {error}. {_AGAIN}") from error


def _read(folder: Path) -> tuple[Quantization, dict[str, dict[Entry, bool]]]:
    """Return what anybody may have written: how weights are stored, and whether each tensor of each file is."""
    place = folder / QUANTIZED_FILES
    if not place.is_file():
        raise CheckError(f"{str(folder)!r} has no {QUANTIZED_FILES}: its weights are not in few bits. Load it as it is")
    said = read_json_object(place, most=MAX_QUANTIZED_FILES, error=CheckError, advice=_AGAIN)
    if said.keys() != {_KEY, "quantize", "files"} or type(said[_KEY]) is not int or said[_KEY] != QUANTIZED_VERSION:
        raise CheckError(f"{place} is not of version {QUANTIZED_VERSION} of {_KEY}. {_AGAIN}")
    try:
        quantization = Quantization.of(said["quantize"])
    except OptionError as error:
        raise CheckError(f"{place} is refused: {error.message}") from error
    files = said["files"]
    if not isinstance(files, dict) or not all(isinstance(found, dict) for found in files.values()):
        raise CheckError(f"{place} lists no files. {_AGAIN}")
    for name in files:
        if Path(name).name != name or not name.endswith(".safetensors") or name == QUANTIZED or name.startswith("."):
            raise CheckError(f"{place} names the file {one_line(repr(name))}. {_AGAIN}")
    return quantization, {
        name: dict(_listed(place, tensor, each) for tensor, each in found.items()) for name, found in files.items()
    }


def _listed(place: Path, name: str, said: object) -> tuple[Entry, bool]:
    given = said if isinstance(said, dict) else {}
    dtype, shape, packed = given.get("dtype"), given.get("shape"), given.get("packed")
    good = isinstance(shape, list) and len(shape) <= MAX_AXES and all(type(size) is int and size >= 0 for size in shape)
    known = isinstance(dtype, str) and dtype in _DTYPES
    if not good or not known or type(packed) is not bool or (packed and not _DTYPES[str(dtype)].is_floating_point):
        raise CheckError(f"{place} does not say what {one_line(name)!r} is. {_AGAIN}")
    assert isinstance(shape, list)
    return Entry(name, tuple(shape), _DTYPES[str(dtype)]), packed


def _copy(folder: Path, place: Path, *, but: Collection[str]) -> None:
    """Copy what stands beside the weights; links and pipes are refused, as they may lead anywhere."""
    count = 0
    for here, _, names in os.walk(folder):
        for path in (Path(here) / name for name in names):
            relative = path.relative_to(folder)
            if relative.as_posix() in but:
                continue
            count += 1
            if path.is_symlink() or not path.is_file() or count > MAX_BESIDE:
                raise CheckError(f"{path} is no regular file, or one of more than {MAX_BESIDE:,}. Leave it out")
            (place / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place / relative)
