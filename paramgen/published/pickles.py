"""A reader of pickles that calls nothing: it knows some instructions and some names, and refuses all others.

A pickle is a program; Python's own machine imports whatever it names and calls it. This one builds dictionaries,
lists, tuples, sets, texts, bytes, numbers and descriptions of tensors. The few functions and classes that published
checkpoints name are in `PICKLED_NAMES`; what they would do is done here, they themselves are never looked up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, final

import torch

from paramgen.errors import ForeignError
from paramgen.published.cursor import Cursor, shown
from paramgen.published.tensors import STORAGES, ForeignTensor, Storage, rebuilt

MAX_INSTRUCTIONS: Final = 150_000  # of one file; the training state of the largest published hypernet has a third
MAX_PROTOCOL: Final = 5
_MAX_INTEGER_BYTES: Final = 32


class Name(Enum):
    """What a file may name, besides storages."""

    ORDERED_DICT = "collections.OrderedDict"
    SET = "builtins.set"
    SET_2 = "__builtin__.set"
    NAMESPACE = "argparse.Namespace"
    SIZE = "torch.Size"
    DEVICE = "torch.device"
    TENSOR = "torch._utils._rebuild_tensor_v2"
    PARAMETER = "torch._utils._rebuild_parameter"
    STORAGE = "torch.storage._load_from_bytes"


PICKLED_NAMES: Final[dict[str, "Name | torch.dtype"]] = {
    **{name.value: name for name in Name},
    **{f"torch.{name}": dtype for name, dtype in STORAGES.items()},
}
"""Everything a file may name."""


@final
class Namespace(dict[str, object]):
    """What was an `argparse.Namespace`: its attributes."""


@final
@dataclass(slots=True)
class Budget:
    """How many instructions a file may still have; the pickles and archives inside it share the same."""

    instructions: int = MAX_INSTRUCTIONS

    def spend(self, name: str, count: int = 1) -> None:
        """Take `count` instructions off, or refuse the file: each part of an archive costs as much as one.

        Raises:
            ForeignError: There are none left.
        """
        self.instructions -= count
        if self.instructions < 0:
            raise ForeignError(f"{name} has more than {MAX_INSTRUCTIONS:,} instructions. No published file does.")


Persistent = Callable[[object], Storage]
"""Returns the storage that a pickle refers to by what torch calls a persistent id."""

Embedded = Callable[[memoryview], Storage]
"""Returns the storage in a file that is embedded in a pickle as bytes."""

_MARK: Final = object()
_STOP: Final = 0x2E
_PROTO: Final = 0x80
_REFUSED: Final = {
    0x69: "INST",
    0x6F: "OBJ",
    0x82: "EXT1",
    0x83: "EXT2",
    0x84: "EXT4",
    0x92: "NEWOBJ_EX",
    0x50: "PERSID",
}


@final
class Machine:
    """Runs one pickle. `persistent` and `embedded` say what its references mean; without them there may be none."""

    def __init__(
        self, cursor: Cursor, budget: Budget, *, persistent: Persistent | None = None, embedded: Embedded | None = None
    ) -> None:
        self.cursor = cursor
        self.name = cursor.name
        self._budget = budget
        self._persistent = persistent
        self._embedded = embedded
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> object:
        """Return the object that the pickle describes; the cursor is then behind it.

        Raises:
            ForeignError: The pickle needs what is not known here, or is broken.
        """
        if self._code() != _PROTO:
            raise ForeignError(f"{self.name} does not begin like a pickle of protocol 2 to {MAX_PROTOCOL}.")
        self._protocol(None)
        while (code := self._code()) != _STOP:
            self._step(code)
        if len(self._stack) != 1 or self._stack[0] is _MARK:
            raise self._damaged("it ends in the middle of an object")
        return self._stack[0]

    def _code(self) -> int:
        self._budget.spend(self.name)
        return self.cursor.byte()

    def _protocol(self, _: object) -> None:
        protocol = self.cursor.byte()
        if not 2 <= protocol <= MAX_PROTOCOL:
            raise ForeignError(f"{self.name} is a pickle of protocol {protocol}; allowed are 2 to {MAX_PROTOCOL}.")

    def _step(self, code: int) -> None:
        """Carry out one instruction."""
        if code not in _ACTIONS:
            raise ForeignError(
                f"{self.name} is refused: it has the instruction {_REFUSED.get(code, hex(code))}, which no file of "
                "tensors and plain containers needs."
            )
        action, argument = _ACTIONS[code]
        action(self, argument)

    def _damaged(self, what: str) -> ForeignError:
        return ForeignError(f"{self.name} is damaged: {what}. Get the file again.")

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._damaged("an instruction in it finds nothing to work on")
        return self._stack[-1]

    def _pop(self, count: int = 1) -> list[Any]:
        values = self._stack[-count:]
        if len(values) < count or any(value is _MARK for value in values):
            raise self._damaged("an instruction in it finds too little to work on")
        del self._stack[-count:]
        return values

    def _marked(self) -> list[Any]:
        """Return what is above the last mark, and take both off the stack."""
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                return values
        raise self._damaged("a list in it has no beginning")

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _empty(self, kind: Callable[[], object]) -> None:
        self._stack.append(kind())

    def _number(self, layout: str) -> None:
        self._stack.append(self.cursor.unpack(layout))

    def _integer(self, layout: str) -> None:
        size = self.cursor.unpack(layout)
        if not 0 <= size <= _MAX_INTEGER_BYTES:
            raise ForeignError(
                f"{self.name} is refused: a whole number of {size:,} bytes; {_MAX_INTEGER_BYTES} are allowed."
            )
        self._stack.append(int.from_bytes(self.cursor.take(size), "little", signed=True))

    def _text(self, layout: str) -> None:
        self._stack.append(self.cursor.text(self.cursor.unpack(layout)))

    def _bytes(self, layout: str) -> None:
        self._stack.append(self.cursor.take(self.cursor.unpack(layout)))

    def _put(self, layout: str) -> None:
        self._memo[self.cursor.unpack(layout)] = self._top()

    def _get(self, layout: str) -> None:
        key = self.cursor.unpack(layout)
        if key not in self._memo:
            raise self._damaged("it refers to an object that is not there")
        self._stack.append(self._memo[key])

    def _memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._top()

    def _frame(self, layout: str) -> None:
        size = self.cursor.unpack(layout)
        if size > self.cursor.left:
            self.cursor.take(size)

    def _drop(self, _: object) -> None:
        if not self._stack:
            raise self._damaged("an instruction in it finds nothing to work on")
        self._stack.pop()

    def _drop_marked(self, _: object) -> None:
        self._marked()

    def _double(self, _: object) -> None:
        self._stack.append(self._top())

    def _tuple(self, count: int | None) -> None:
        self._stack.append(tuple(self._several(count)))

    def _several(self, count: int | None) -> list[Any]:
        return self._marked() if count is None else self._pop(count)

    def _append(self, count: int | None) -> None:
        values = self._several(count)
        target = self._top()
        if type(target) is not list:
            raise self._damaged("it appends to what is no list")
        target.extend(values)

    def _add(self, count: int | None) -> None:
        values = self._several(count)
        target = self._top()
        if type(target) is not set:
            raise self._damaged("it adds to what is no set")
        target.update(self._key(value) for value in values)

    def _set(self, count: int | None) -> None:
        values = self._several(count)
        target = self._top()
        if not isinstance(target, dict) or len(values) % 2:
            raise self._damaged("it sets items of what is no dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[self._key(key)] = value

    def _key(self, value: object) -> Any:
        """Return a key, or an element of a set: only what can neither recurse nor collide when it is hashed."""
        if isinstance(value, str) or (isinstance(value, int) and 0 <= value < 1 << 31):
            return value
        raise ForeignError(f"{self.name} is refused: {shown(value)} as a key; texts and small numbers are allowed.")

    def _name_in_line(self, _: object) -> None:
        module = self.cursor.line()
        self._stack.append(self._known(f"{module}.{self.cursor.line()}"))

    def _name_on_stack(self, _: object) -> None:
        module, name = self._pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._damaged("it names something by what is no text")
        self._stack.append(self._known(f"{module}.{name}"))

    def _known(self, name: str) -> object:
        if name not in PICKLED_NAMES:
            raise ForeignError(
                f"{self.name} is refused: it would call {shown(name)[1:-1]}. Tensors and plain containers are read, "
                "nothing is ever run."
            )
        return PICKLED_NAMES[name]

    def _reference(self, _: object) -> None:
        (identity,) = self._pop()
        if self._persistent is None:
            raise ForeignError(
                f"{self.name} is refused: it refers to storages, but is no archive that could hold them."
            )
        self._stack.append(self._persistent(identity))

    def _reduce(self, _: object) -> None:
        target, arguments = self._pop(2)
        if not isinstance(target, Name) or type(arguments) is not tuple:
            raise ForeignError(f"{self.name} is refused: it would call {shown(target)} of its own making.")
        self._stack.append(self._made(target, arguments))

    def _made(self, target: Name, arguments: tuple[object, ...]) -> object:
        """Return what the call would return."""
        match target, arguments:
            case Name.TENSOR, _:
                return rebuilt(self.name, arguments)
            case Name.PARAMETER, (ForeignTensor() as tensor, *_):
                return tensor
            case Name.STORAGE, (memoryview() as data,) if self._embedded is not None:
                return self._embedded(data)
            case Name.ORDERED_DICT, ():
                return {}
            case Name.NAMESPACE, ():
                return Namespace()
            case ((Name.SET | Name.SET_2), (list() as values,)):
                self._budget.spend(self.name, len(values))  # one list may be made a set of again and again
                return {self._key(value) for value in values}
            case Name.SIZE, (tuple() as sizes,):
                return sizes
            case Name.DEVICE, (str() as device, *_):
                return device
        raise ForeignError(f"{self.name} is refused: {target.value} with arguments that no published file gives it.")

    def _new_object(self, _: object) -> None:
        target, arguments = self._pop(2)
        if target is not Name.NAMESPACE and target is not Name.ORDERED_DICT:
            raise ForeignError(f"{self.name} is refused: it would make an object of {shown(target)}.")
        self._stack.append(self._made(target, arguments))

    def _build(self, _: object) -> None:
        (state,) = self._pop()
        target = self._top()
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise ForeignError(f"{self.name} is refused: it would set the state of {shown(target)}.")
        # A state dict carries the versions of its modules as an attribute; that of a plain dictionary is nothing to us.
        if isinstance(target, Namespace):
            self._budget.spend(self.name, len(state))
            target.update({str(key): value for key, value in state.items()})


_ACTIONS: Final[dict[int, tuple[Callable[[Machine, Any], None], Any]]] = {
    _PROTO: (Machine._protocol, None),
    0x95: (Machine._frame, "<Q"),
    0x28: (Machine._push, _MARK),
    0x30: (Machine._drop, None),
    0x31: (Machine._drop_marked, None),
    0x32: (Machine._double, None),
    0x4E: (Machine._push, None),
    0x88: (Machine._push, True),
    0x89: (Machine._push, False),
    0x5D: (Machine._empty, list),
    0x7D: (Machine._empty, dict),
    0x29: (Machine._empty, tuple),
    0x8F: (Machine._empty, set),
    0x4A: (Machine._number, "<i"),
    0x4B: (Machine._number, "<B"),
    0x4D: (Machine._number, "<H"),
    0x47: (Machine._number, ">d"),
    0x8A: (Machine._integer, "<B"),
    0x8B: (Machine._integer, "<i"),
    0x8C: (Machine._text, "<B"),
    0x58: (Machine._text, "<I"),
    0x8D: (Machine._text, "<Q"),
    0x43: (Machine._bytes, "<B"),
    0x42: (Machine._bytes, "<I"),
    0x8E: (Machine._bytes, "<Q"),
    0x71: (Machine._put, "<B"),
    0x72: (Machine._put, "<I"),
    0x94: (Machine._memoize, None),
    0x68: (Machine._get, "<B"),
    0x6A: (Machine._get, "<I"),
    0x74: (Machine._tuple, None),
    0x85: (Machine._tuple, 1),
    0x86: (Machine._tuple, 2),
    0x87: (Machine._tuple, 3),
    0x61: (Machine._append, 1),
    0x65: (Machine._append, None),
    0x90: (Machine._add, None),
    0x73: (Machine._set, 2),
    0x75: (Machine._set, None),
    0x63: (Machine._name_in_line, None),
    0x93: (Machine._name_on_stack, None),
    0x51: (Machine._reference, None),
    0x52: (Machine._reduce, None),
    0x81: (Machine._new_object, None),
    0x62: (Machine._build, None),
}
"""What is done for every instruction that is known; all others are refused."""
