"""Makes checkpoints by hand: honest ones in every published form, and hostile ones. No pickle library is used."""

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

STOP, REDUCE, EMPTY_TUPLE, MARK, TUPLE = b".", b"R", b")", b"(", b"t"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def whole(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def row(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def program(*parts: bytes, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + b"".join(parts) + STOP


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + row(*arguments) + REDUCE


def mapping(items: Mapping[str, bytes]) -> bytes:
    return b"}" + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def ordered() -> bytes:
    return named("collections", "OrderedDict") + EMPTY_TUPLE + REDUCE


def blob(data: bytes) -> bytes:
    return call("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(data)) + data)


def stream_of(storage: torch.TypedStorage) -> bytes:
    """What torch writes for a storage in its older format, as it stands in a joblib dump."""
    buffer = io.BytesIO()
    torch.save(storage, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def tensor(
    value: Tensor, *, offset: bytes | None = None, shape: bytes | None = None, stride: bytes | None = None
) -> bytes:
    """What a plain pickle holds for a tensor; what is given replaces what is true."""
    value = value.contiguous()
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        blob(stream_of(value.clone()._typed_storage())),
        whole(0) if offset is None else offset,
        row(*map(whole, value.shape)) if shape is None else shape,
        row(*map(whole, value.stride())) if stride is None else stride,
        b"\x89",
        ordered(),
    )


def dumped(state: Mapping[str, Tensor]) -> bytes:
    """The form on the Hub: joblib's plain pickle of a state dict."""
    items = MARK + b"".join(text(key) + tensor(value) for key, value in state.items()) + b"u"
    return program(ordered(), items, protocol=4)


def saved(content: object, *, older: bool = False) -> bytes:
    """The form of training code: what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not older)
    return buffer.getvalue()


def archived(data: bytes, parts: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """A torch archive around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/data.pkl", data)
        for name, part in (parts or {}).items():
            archive.writestr(f"a/{name}", part)
    return buffer.getvalue()


def persistent(*identity: bytes) -> bytes:
    return row(*identity) + b"Q"


def storage(key: str = "0", elements: int = 4, kind: str = "FloatStorage") -> bytes:
    return persistent(text("storage"), named("torch", kind), text(key), text("cpu"), whole(elements))


def run_on_load(command: str) -> dict[str, bytes]:
    """Files that would run `command` if anything in them were called."""
    system = call("os", "system", text(command))
    stacked = text("posix") + text("system") + b"\x93" + text(command) + b"\x85" + REDUCE
    attack = program(system)
    namespace = named("argparse", "Namespace") + EMPTY_TUPLE + b"\x81"
    return {
        "reduce": attack,
        "stack_global": program(stacked, protocol=4),
        "subprocess": program(call("subprocess", "Popen", text(command))),
        "eval": program(call("builtins", "eval", text(f"__import__('os').system({command!r})"))),
        "python_2": program(call("__builtin__", "exec", text(f"import os; os.system({command!r})"))),
        "set_state": program(namespace, mapping({"__setstate__": named("os", "system")}), b"b", text(command), b"b"),
        "build": program(named("os", "_Environ"), EMPTY_TUPLE, b"\x81", mapping({"data": text(command)}), b"b"),
        "inst": program(MARK, text(command), b"ios\nsystem\n"),
        "obj": program(MARK, named("os", "system"), text(command), b"o"),
        "new_object": program(named("subprocess", "Popen"), text(command), b"\x85\x81"),
        "new_object_ex": program(named("subprocess", "Popen"), EMPTY_TUPLE, b"}", b"\x92", protocol=4),
        "nested_load": program(call("torch", "load", call("io", "BytesIO", b"C" + bytes([len(attack)]) + attack))),
        "nested_blob": program(blob(attack)),
        "nested_archive": program(blob(archived(attack))),
        "blob_in_blob": program(blob(program(blob(attack)))),
        "archive": archived(attack),
        "archive_of_blob": archived(program(blob(attack))),
        "in_a_value": program(mapping({"state_dict": b"}", "config": system})),
        "getattr": program(call("builtins", "getattr", named("os", "system"), text("__call__"))),
        "torch_jit": program(call("torch.jit._pickle", "build_intlist", b"]")),
        "dotted": program(text("torch._utils"), text("os.system"), b"\x93", text(command), b"\x85", REDUCE, protocol=4),
    }


def malformed() -> dict[str, bytes]:
    """Files whose instructions, counts or lengths are not those of a checkpoint."""
    small = torch.zeros(4)
    return {
        "empty": b"",
        "text": b"hello, world\n" * 10,
        "compressed": zlib.compress(dumped({"a": small})),
        "protocol_9": program(b"N", protocol=9),
        "protocol_0": b"(dp0\nS'a'\np1\nI1\ns.",
        "extension_1": program(b"\x82\x01"),
        "extension_4": program(b"\x84\x01\x00\x00\x00"),
        "text_identity": program(b"P123\n"),
        "numpy": program(call("numpy.core.multiarray", "_reconstruct", named("numpy", "ndarray"), row(whole(0)))),
        "numpy_2": program(call("numpy._core.multiarray", "scalar", text("f8"))),
        "complex": archived(program(storage(kind="ComplexFloatStorage")), {"data/0": bytes(32)}),
        "long_text": program(b"X\xff\xff\xff\xff"),
        "longer_text": program(b"\x8d" + struct.pack("<Q", 1 << 62), protocol=4),
        "long_bytes": program(b"\x8e" + struct.pack("<Q", (1 << 64) - 1), protocol=4),
        "no_text": program(b"X\x02\x00\x00\x00\xff\xfe"),
        "long_name": program(b"c" + b"a" * 10_000 + b"\nb\n"),
        "huge_number": program(b"\x8b" + struct.pack("<i", 1 << 20) + b"\x01" * (1 << 20)),
        "negative_number": program(b"\x8b\xff\xff\xff\xff"),
        "huge_frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        "memo": program(b"N" + b"".join(b"r" + struct.pack("<I", (1 << 32) - 1 - i) for i in range(200_000))),
        "memoized": program(b"N" + b"\x94" * 200_000, protocol=4),
        "forgotten": program(b"h\x07"),
        "doubled": program(b"N" + b"2" * 200_000),
        "marks": program(b"(" * 200_000),
        "nested_tuples": program(b")" + b"\x85" * 120_000),
        "nested_lists": program(b"]" * 60_000 + b"a" * 59_999),
        "nested_dictionaries": program(b"}" + b"".join(text("a") + b"}" for _ in range(60)) + b"s" * 60),
        "laughter": program(b"]" + b"".join(b"q\x00]h\x00ah\x00a" for _ in range(100)), protocol=2),
        "collisions": program(b"}(" + b"".join(whole((1 << 61) - 1 << i) + b"N" for i in range(100)) + b"u"),
        "tuple_as_key": program(b"}" + b")" + b"\x85" * 1000 + b"Ns"),
        "nothing_on_the_stack": program(b"R"),
        "mark_as_value": program(b"(."),
        "append_to_nothing": program(b"Na"),
        "set_items_of_a_list": program(b"](NNu"),
        "odd_items": program(b"}(Nu"),
        "add_to_a_list": program(b"](N\x90", protocol=4),
        "state_of_itself": program(named("argparse", "Namespace"), b")\x81", b"2b"),
        "state_of_a_list": program(b"]}b"),
        "new_tensor": program(named("torch._utils", "_rebuild_tensor_v2"), b")\x81"),
        "dtype_called": program(named("torch", "FloatStorage"), b")R"),
        "trailing": dumped({"a": small}) + b"more",
        "escape_codes": program(text("o\ns\x1b[31m"), text("sys\rtem"), b"\x93", protocol=4),
    }


def misplaced() -> dict[str, bytes]:
    """Files whose tensors or storages are not where, or not as large, as they say."""
    four = torch.zeros(4)
    trillion = row(whole(10**6), whole(10**6))
    identity = (text("storage"), named("torch", "FloatStorage"), text("0"), text("cpu"), whole(4))
    of_archive = archived(program(storage(elements=10**12)), {"data/0": bytes(16)})
    return {
        "trillion_elements": program(tensor(four, shape=trillion, stride=row(whole(10**6), whole(1)))),
        "trillion_of_one": program(tensor(four, shape=trillion, stride=row(whole(0), whole(0)))),
        "trillion_stored": of_archive,
        "huge_size": program(tensor(four, shape=row(whole(1 << 200)), stride=row(whole(1)))),
        "negative_size": program(tensor(four, shape=row(whole(-4)), stride=row(whole(1)))),
        "negative_stride": program(tensor(four, offset=whole(3), shape=row(whole(4)), stride=row(whole(-1)))),
        "negative_offset": program(tensor(four, offset=whole(-1))),
        "offset_outside": program(tensor(four, offset=whole(1))),
        "offset_far_outside": program(tensor(four, offset=whole(1 << 39))),
        "text_as_offset": program(tensor(four, offset=text("0"))),
        "stride_outside": program(tensor(four, shape=row(whole(2)), stride=row(whole(4)))),
        "truth_as_size": program(tensor(four, shape=row(b"\x88"), stride=row(whole(1)))),
        "list_as_shape": program(tensor(four, shape=b"]")),
        "strides_missing": program(tensor(four, stride=EMPTY_TUPLE)),
        "hundred_dimensions": program(tensor(four, shape=row(*[whole(1)] * 100), stride=row(*[whole(1)] * 100))),
        "few_arguments": program(call("torch._utils", "_rebuild_tensor_v2", blob(stream_of(four._typed_storage())))),
        "no_storage": program(call("torch._utils", "_rebuild_tensor_v2", *[b"N"] * 6)),
        "blob_is_no_storage": program(blob(program(b"]"))),
        "blob_is_text": program(call("torch.storage", "_load_from_bytes", text("a"))),
        "identity_in_a_pickle": program(persistent(*identity)),
        "identity_is_text": archived(program(text("0") + b"Q")),
        "identity_is_a_number": archived(program(whole(7) + b"Q")),
        "identity_of_a_module": archived(program(persistent(text("module"), text("os"), text("a"), text("b")))),
        "identity_is_short": archived(program(persistent(*identity[:4]))),
        "identity_of_a_path": archived(program(storage("../../../etc/passwd"))),
        "identity_of_a_view": archived(program(persistent(*identity, row(text("v"), whole(0), whole(1))))),
        "identity_negative": archived(program(storage(elements=-4)), {"data/0": bytes(16)}),
        "storage_missing": archived(program(storage())),
        "storage_short": archived(program(storage()), {"data/0": bytes(12)}),
        "storage_of_two_kinds": archived(
            program(storage(), storage(kind="IntStorage"), b"\x86"), {"data/0": bytes(16)}
        ),
        "big_endian": archived(program(storage()), {"data/0": bytes(16), "byteorder": b"big"}),
        "no_main_part": archived(program(b"N")).replace(b"a/data.pkl", b"a/code.pkl"),
        "bomb": archived(bytes(32_000_000), method=zipfile.ZIP_DEFLATED),
        "compressed_part": archived(program(storage()), {"data/0": bytes(16)}, zipfile.ZIP_DEFLATED),
        "many_parts": _many_parts(60_000),
        "parts_without_end": archived(program(b"N"))[:-4],
        "contents_outside": _patched(archived(program(b"N")), -6, struct.pack("<I", 1 << 30)),
        "large_without_record": _patched(archived(program(b"N")), -6, struct.pack("<I", 0xFFFFFFFF)),
        "same_part_twice": _many_parts(2),
    }


def _patched(data: bytes, place: int, new: bytes) -> bytes:
    place += len(data)
    return data[:place] + new + data[place + len(new) :]


def _many_parts(count: int) -> bytes:
    """An archive whose table of contents lists one part very often."""
    data = archived(program(b"N"))
    start = struct.unpack("<I", data[-6:-2])[0]
    entry = data[start:-22]
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(entry) * count, start, 0)
    return data[:start] + entry * count + end
