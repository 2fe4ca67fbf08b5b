"""What a parquet file's pages say that they become: each has its own header, which the footer need not agree with.

A header is a struct in Thrift's compact form, whose fields 1 to 3 are the page's kind and its bytes, unpacked and
packed (https://github.com/apache/parquet-format). pyarrow takes what the second says as memory, up to two gigabytes.
"""

from collections.abc import Iterator
from typing import IO, Any, Final, final

from paramgen.errors import ZooError

MAX_HEADER: Final = 1 << 16  # bytes: with statistics, of which a zoo's table has short ones
MAX_PAGES: Final = 1_000_000
MAX_FIELD: Final = 1_000
_DEPTH: Final = 16  # of structs in structs
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
_NUMBERS: Final = (4, 5, 6)
_NUMBER: Final = 5  # the only kind that pyarrow takes for a page's bytes
_UNPACKED, _PACKED = 2, 3  # fields of a page's header


def unpacked_bytes(file: IO[bytes], metadata: Any) -> Iterator[int]:
    """Yield for each page of each column how many bytes pyarrow would take for it. Raise ZooError where none are."""
    count = 0
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            position = column.data_page_offset
            if column.dictionary_page_offset is not None and 0 < column.dictionary_page_offset < position:
                position = column.dictionary_page_offset
            end = position + column.total_compressed_size
            while position < end:
                unpacked, packed, length = _page(file, position)
                position += length + packed
                count += 1
                if count > MAX_PAGES or position > end:
                    raise ZooError("its pages are not as its footer says")
                yield unpacked


def _page(file: IO[bytes], position: int) -> tuple[int, int, int]:
    """Return what a page is unpacked and packed, and how long its header is."""
    if position < 0:
        raise ZooError("its pages are not as its footer says")
    file.seek(position)
    header = _Header(file.read(MAX_HEADER))
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
    """Goes through a struct in Thrift's compact form; IndexError says that it is none, or too long."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int) -> dict[int, int]:
        """Pass a struct and return its fields that are numbers of 32 bits; one that stands twice counts as the last."""
        found: dict[int, int] = {}
        field = 0
        while (head := self._byte()) != 0:
            kind = head & 15
            field = field + (head >> 4) if head >> 4 else _signed(self._number())
            if not 0 < field <= MAX_FIELD:  # which pyarrow would take for another
                raise IndexError
            if kind == _NUMBER:
                found[field] = _signed(self._number())
            else:
                self._pass(kind, depth - 1)
        return found

    def _pass(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE):
            return
        if kind == _STRUCT and depth:
            self.struct(depth)
        elif kind in (_LIST, _SET) and depth:
            self._pass_list(depth)
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._number())
        elif kind in _NUMBERS:
            self._number()
        else:  # a map, which no page has, or nothing that Thrift knows
            raise IndexError

    def _pass_list(self, depth: int) -> None:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._number()
        for _ in range(count):
            if head & 15 in (_TRUE, _FALSE):  # takes a byte only here
                self._byte()
            else:
                self._pass(head & 15, depth - 1)

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
