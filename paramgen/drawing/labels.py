"""The words in the boxes: short names, one line that says what a layer is, and how wide a text will be."""

import re
import unicodedata
from typing import Final

from paramgen.drawing.boxes import Box
from paramgen.graphs.schema import Graph, Node

NAME_WIDTH: Final = 6.7
"""Pixels per character of the 11-pixel monospace font: 0.602 em in DejaVu and Menlo, the widest in use."""
WORD_WIDTH: Final = 6.3
"""Pixels per character of the 10-pixel sans font: digits in DejaVu and Verdana, the widest in use."""
SIGNS: Final = {"sum": "+", "multiply": "×", "negate": "−"}
SHOWN: Final = ("kernel", "stride", "dilation")


def printable(text: str) -> str:
    """Replace what XML forbids or what could reorder the text around it (control, format, surrogate characters)."""
    return "".join(c if not unicodedata.category(c).startswith("C") else "\ufffd" for c in text)


def columns(text: str) -> int:
    """Return the width of `text` in characters; East Asian wide characters count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def shorten(text: str, room: int) -> str:
    """Cut the middle out of `text` until it is at most `room` characters wide."""
    if columns(text) <= room:
        return text
    while columns(text) > room and len(text) > 2:
        # Halve what is far too long first: names have no length limit, and each step costs its length.
        keep = max(min(len(text) - 1, room * 2), 2)
        tail = keep // 2
        text = text[: keep - tail - 1] + "…" + text[len(text) - tail :]
        if len(text) <= room and columns(text) > room:
            room = max(room - 1, 2)
    return text


def sizes(values: tuple[int, ...]) -> str:
    """Return `1×197×768`, and `scalar` for the empty shape."""
    return "×".join(str(value) for value in values) or "scalar"


def name_of(graph: Graph, box: Box, frame: tuple[str, ...]) -> str:
    """Return the name of a parameter box as seen from inside its frame: `attn.qkv`, `downsample.0`, `pos_embed`."""
    node = graph.nodes[box.nodes[0]]
    leaf = node.name.rpartition(".")[2]
    module = list(box.module[len(frame) :] if box.module[: len(frame)] == frame else box.module)
    if leaf in ("weight", "bias") and box.module:
        if not module or all(part.isdigit() for part in module):
            # "0" alone says nothing: begin at the last module with a name.
            named = [at for at, part in enumerate(box.module[:-1]) if not part.isdigit()]
            module = list(box.module[named[-1] if named and box.module[-1].isdigit() else -1 :])
        return printable(".".join(module))
    if box.kind != "parameter":
        leaf = leaf.removesuffix("_weight")
    return printable(".".join([*module, leaf]))


def detail_of(node: Node) -> str:
    """Return one line that says what the layer is: `conv 3×3 /2 · 64→128`."""
    word, shape = node.op.replace("_", " "), node.shape
    if node.op.endswith("conv") and len(shape) >= 2:
        groups = node.attributes.get("groups", 1)
        groups = groups if isinstance(groups, int) and groups > 0 else 1
        out, into = (shape[1] * groups, shape[0]) if node.op == "transposed_conv" else (shape[0], shape[1] * groups)
        grouped = f" ·{groups} groups" if groups > 1 and node.op != "depthwise_conv" else ""
        word = word.removesuffix(" conv") if node.op != "conv" else word
        return f"{word} {sizes(shape[2:]) if shape[2:] else ''}{_stride(node)} {into}→{out}{grouped}".replace("  ", " ")
    if node.op == "linear" and len(shape) == 2:
        out, into = shape[::-1] if node.attributes.get("layout") == "in_out" else shape
        return f"{word} {into}→{out}"
    return f"{word} {sizes(shape)}"


def word_of(node: Node) -> str:
    """Return what stands in the symbol of an operation without parameters."""
    if node.op in SIGNS:
        return SIGNS[node.op]
    if node.op in ("input", "output"):
        name = node.op if re.fullmatch(r"(input|output)_?\d*", node.name) else shorten(printable(node.name), 24)
        return f"{name} {sizes(node.shape)}" if node.shape else name
    if node.op in ("other", "activation"):
        return shorten(printable(node.name.rpartition("/")[2].rpartition(".")[2] or node.op), 18)
    kernel = node.attributes.get("kernel")
    window = "" if kernel is None else " " + _window(kernel, len(node.shape) - 2)
    return shorten(node.op.replace("_", " ") + printable(window) + _stride(node), 22)


def _window(kernel: object, dimensions: int) -> str:
    """Return `3×3`, of a pooling over two dimensions also where its kernel is given as one number."""
    if isinstance(kernel, int):
        kernel = (kernel,)
    if isinstance(kernel, tuple):
        kernel = kernel * max(dimensions, 1) if len(kernel) == 1 else kernel
        return sizes(kernel)
    return str(kernel)


def _stride(node: Node) -> str:
    """Return ` /2` for a stride of two; a stride of one is not worth a word."""
    stride = node.attributes.get("stride", 1)
    if isinstance(stride, tuple):
        stride = stride[0] if len(set(stride)) == 1 else sizes(stride)
    return "" if stride == 1 else f" /{printable(str(stride))}"
