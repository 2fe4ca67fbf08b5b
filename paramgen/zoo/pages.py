"""Read the sizes that a parquet file declares, without pyarrow: its footer, and the header of every page.

pyarrow ends the process at some footers, and takes what a page's header says as memory, up to two gigabytes, whatever
the footer says. Both are structs in Thrift's compact form (https://github.com/apache/parquet-format).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, final

from paramgen.errors import ZooError

MAX_FOOTER: Final = 16_000_000  # bytes
MAX_PAGE_HEADER: Final = 1 << 16  # bytes: with statistics, of which a zoo's table has short ones
MAX_PAGES: Final = 1_000_000
MAX_FIELD: Final = 1_000
_MAGIC: Final = b"PAR1"
_DEPTH: Final = 16  # of structs in structs
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
_GROUPS: Final = (4, _LIST)  # fields by number and kind; pyarrow passes those of another kind, too: of a file,
_COLUMNS: Final = (1, _LIST)  # of a row group,
_METADATA: Final = (3, _STRUCT)  # of a column,
_ALL_UNPACKED, _ALL_PACKED, _DATA, _DICTIONARY = (6, _I64), (7, _I64), (9, _I64), (11, _I64)  # of its metadata,
_UNPACKED, _PACKED = (2, _I32), (3, _I32)  # of a page

_DIFFERS: Final = "its pages are not as its footer says"


@final
@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group: where its pages begin, and how many bytes they are, packed and unpacked."""

    begin: int
    packed: int
    unpacked: int


def chunks_of(path: Path) -> list[Chunk]:
    """Return the extent of every column by the footer; raise ZooError if it cannot be read."""
    with open(path, "rb") as file:
        end = file.seek(0, 2) - 8
        file.seek(max(end, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or not 0 < length <= min(end, MAX_FOOTER):
            raise ZooError("it has no footer of a parquet file")
        file.seek(end - length)
        header = _Header(file.read(length))
    try:
        groups = header.struct(_DEPTH).get(_GROUPS, [])
        return [_chunk(column[_METADATA]) for group in groups for column in group[_COLUMNS]]
    except (LookupError, TypeError, RecursionError) as error:
        raise ZooError("its footer cannot be read") from error


def _chunk(metadata: dict[tuple[int, int], Any]) -> Chunk:
    begin = metadata[_DATA]
    dictionary = metadata.get(_DICTIONARY, 0)
    begin = dictionary if 0 < dictionary < begin else begin
    return Chunk(begin=begin, packed=metadata[_ALL_PACKED], unpacked=metadata[_ALL_UNPACKED])


def unpacked_bytes(file: IO[bytes], chunks: Sequence[Chunk]) -> Iterator[int]:
    """Yield for each page of each column how many bytes pyarrow would take for it. Raise ZooError where none are."""
    count = 0
    for chunk in chunks:
        position, end = chunk.begin, chunk.begin + chunk.packed
        while position < end:
            unpacked, packed, length = _page(file, position)
            position += length + packed
            count += 1
            if count > MAX_PAGES or position > end:
                raise ZooError(_DIFFERS)
            yield unpacked


def _page(file: IO[bytes], position: int) -> tuple[int, int, int]:
    """Return what a page is unpacked and packed, and how long its header is."""
    if position < 0:
        raise ZooError(_DIFFERS)
    file.seek(position)
    header = _Header(file.read(MAX_PAGE_HEADER))
    try:
        found = header.struct(_DEPTH)
    except (IndexError, RecursionError) as error:
        raise ZooError("a page of it has no header that can be read") from error
    unpacked, packed = found.get(_UNPACKED, -1), found.get(_PACKED, -1)
    if unpacked < 0 or packed < 0:
        raise ZooError("a page of it does not say how many bytes it has")
    return unpacked, packed, header.position


@final
class _Header:
    """Goes through a struct in Thrift's compact form; IndexError says that it is none, too long, or ambiguous."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int) -> dict[tuple[int, int], Any]:
        """Pass a struct and return its numbers, structs and lists of structs, by number and kind of their field."""
        found: dict[tuple[int, int], Any] = {}
        seen: set[int] = set()
        field = 0
        while (head := self._byte()) != 0:
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else _signed(self._number())
            if not 0 < field <= MAX_FIELD or field in seen:  # which pyarrow would take for another, or for both
                raise IndexError
            seen.add(field)
            found[field, kind] = self._value(kind, depth - 1)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        """Pass a value and return it if it is a number, a struct or a list."""
        if kind in (_I16, _I32, _I64):
            return _signed(self._number())
        if kind == _STRUCT and depth:
            return self.struct(depth)
        if kind in (_LIST, _SET) and depth:
            return self._list(depth)
        if kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._number())
        elif kind not in (_TRUE, _FALSE):  # a map, which parquet has not, or nothing that Thrift knows
            raise IndexError
        return None

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._number()
        kind = _BYTE if head & 15 in (_TRUE, _FALSE) else head & 15  # a truth takes a byte only here
        if count > len(self._content):
            raise IndexError
        return [self._value(kind, depth - 1) for _ in range(count)]

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self._content):
            raise IndexError

    def _byte(self) -> int:
        self.position += 1
        return self._content[self.position - 1]

    def _number(self) -> int:
        """Return an unsigned number of at most ten bytes, seven bits in each."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise IndexError


def _signed(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
