"""Graphs that nobody's network has: nodes, edges, slots, init programs, layout and ties made by chance.

Half of a graph is put together of blocks as real networks have them, so that what reads graphs finds something to
read; then it is bent: odd shapes, missing predecessors, strides of zero, slots of any dtype, programs of any operation.
Everything hangs on one `random.Random`, so that a number, or hypothesis, decides the graph.
"""

import base64
from functools import cache
from random import Random
from typing import Any, Final

import torch

from paramgen.errors import GraphError
from paramgen.graphs.init_json import program_from_json
from paramgen.graphs.init_limits import PACKETS, bound
from paramgen.graphs.ops import VOCABULARY
from paramgen.slots.init_program import InitStep
from paramgen.slots.torch_internals import schema_of

Json = dict[str, Any]
SIDES: Final = (1, 1, 2, 3, 4, 6, 8, 12, 16)
DTYPES: Final = (*("float32",) * 8, *"float16 bfloat16 float64 complex64 int64 int32 uint8 int8 bool uint16".split())
OWNING: Final = VOCABULARY[2:17]
WORDS: Final = (
    *"weight bias in_proj_weight q_proj.weight k_proj.weight v_proj.weight o_proj.weight attn.qkv.weight".split(),
    *"query_key_value.weight pos_embed cls_token lm_head.weight running_mean num_batches_tracked norm.weight".split(),
    *"norm.bias 0.weight ls1.gamma rotary.inv_freq layers.99999999999999999999.weight h.0.attn.c_attn.weight".split(),
    *("", ".", "..", "a..b", "x/y", "\u202e", "a\nb", "é" * 40),
)
OWNERS: Final = (
    "torch.nn.modules.linear.Linear",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.activation.MultiheadAttention",
    "torch.nn.modules.rnn.LSTM",
    "",
    "x",
)
STRUCTURES: Final = ("fake tensors", "fake tensors", "fake tensors", "export", "module tree", "nothing", "", "x")
_NUMBERS: Final = (0, 1, 2, 3, -1, 4, 0.5, 1.5, -2.0, 1e-8, 1e30, True, -(2**63), 2**63 - 1, 255)


class Generated:
    """One graph under construction."""

    def __init__(self, draw: Random) -> None:
        self.draw = draw
        self.nodes: list[Json] = []
        self.slots: list[Json] = []
        self.edges: list[list[int]] = []
        self.width = draw.choice((4, 8, 16))

    def node(self, op: str, shape: list[int], slot: Json | None = None, **attributes: Any) -> int:
        """Add a node and return its index."""
        name = f"x/{op}" if slot is None else slot["name"]
        held = None if slot is None else slot["tied_to"] or slot["name"]
        self.nodes.append({"op": op, "name": name, "slot": held, "shape": list(shape), "attributes": attributes})
        return len(self.nodes) - 1

    def link(self, *path: int) -> int:
        """Draw edges along a path and return its end."""
        self.edges += [[one, two] for one, two in zip(path, path[1:], strict=False) if one < two]
        return path[-1]

    def slot(self, name: str, shape: list[int], **entries: Any) -> Json:
        """Add a slot."""
        if self.draw.random() < 0.6:
            name = f"{self.draw.choice(('layers', 'blocks', 'h', 'stages'))}.{self.draw.randrange(3)}.{name}"
        while any(other["name"] == name for other in self.slots):
            name += f".{len(self.slots)}"
        slot: Json = {"name": name, "shape": list(shape), "dtype": "float32", "kind": "parameter"}
        owner = name.rpartition(".")[0] if self.draw.random() < 0.8 else self.draw.choice(("", "x", ".."))
        slot |= {
            "owner": owner,
            "owner_type": self.draw.choice(OWNERS),
            "tied_to": None,
            "init_program": None,
            **entries,
        }
        self.slots.append(slot)
        return slot

    def weight(self, op: str, before: int, shape: list[int], name: str = "weight", **attributes: Any) -> int:
        """Add a slot with its node, and a bias behind it now and then."""
        end = self.link(before, self.node(op, shape, self.slot(name, shape), **attributes))
        if self.draw.random() < 0.4 and shape:
            end = self.link(end, self.node("bias", shape[:1], self.slot("bias", shape[:1])))
        return end


def generated(draw: Random) -> Json:
    """Return a graph as JSON data: most can be read, some cannot."""
    made = Generated(draw)
    end = _begin(made)
    for _ in range(draw.randrange(6)):
        end = draw.choice(_BLOCKS)(made, end)
    if draw.random() < 0.7:
        made.link(end, made.node("output", [2, made.width]))
    _bend(made)
    wild = draw.random() < 0.25
    for slot in made.slots:
        if slot["tied_to"] is None and draw.random() < 0.5:
            slot["init_program"] = program(draw, slot, steps=draw.choice((1, 2, 2, 3, 5)) if wild else 1)
    return {
        "paramgen_graph": 1,
        "spec": draw.choice(("own.py:build", "timm:resnet18", "", "x" * 300)),
        "traced_by": draw.choice(STRUCTURES),
        "layout": _layout(draw),
        "nodes": made.nodes,
        "edges": sorted([list(pair) for pair in {tuple(edge) for edge in made.edges}]),
        "slots": made.slots,
    }


def _begin(made: Generated) -> int:
    shape = made.draw.choice(([2, 3, 16, 16], [2, 3, 16, 8], [2, 8], [2, 5], [1, 1, 1, 1], [0, 3, 0, 0], [], [2, 3, 4]))
    start = made.node("input", shape)
    kind = made.draw.randrange(4)
    if kind == 0:
        sides = [made.draw.choice((1, 3, 4))] * 2
        return made.weight("conv", start, [made.width, 3, *sides], "stem.weight", kernel=sides, stride=[1, 1], groups=1)
    if kind == 1:
        return made.weight("embedding", start, [20, made.width], "embed_tokens.weight")
    return start


def _linear(made: Generated, end: int) -> int:
    out = made.draw.choice((made.width, made.width, 4 * made.width, 3))
    end = made.weight("linear", end, [out, made.width], **({"layout": "in_out"} if made.draw.random() < 0.2 else {}))
    return made.link(end, made.node(made.draw.choice(("relu", "gelu", "silu", "tanh", "other")), [2, 5, made.width]))


def _attention(made: Generated, end: int) -> int:
    width, heads = made.width, made.draw.choice((1, 2, 4, 0))
    head = width // heads if heads else 0
    if made.draw.random() < 0.5:
        fed = [made.weight("linear", end, [width, width], f"{word}_proj.weight") for word in "qkv"]
    else:
        rows = made.draw.choice((3 * width, 3 * width, width + 2 * head))
        fed = [made.weight("linear", end, [rows, width], made.draw.choice(("qkv.weight", "query_key_value.weight")))]
    shape = [2, heads, 5, head] if made.draw.random() < 0.7 else [2, 5, head]
    if made.draw.random() < 0.5:
        met = made.node("attention", shape)
    else:
        scores = made.link(fed[0], made.node("softmax", [2, heads, 5, 5]))
        met = made.link(scores, made.node("matmul", shape))
    for one in fed:
        made.link(one, met)
    mixed = made.weight("linear", met, [width, width], "o_proj.weight")
    return _sum(made, end, mixed)


def _sum(made: Generated, skip: int, branch: int) -> int:
    joined = made.node("sum", [2, 5, made.width])
    made.link(skip, joined)
    return made.link(branch, joined)


def _residual(made: Generated, end: int) -> int:
    inner = _linear(made, _norm(made, end))
    return _sum(made, end, made.weight("linear", inner, [made.width, 4 * made.width]))


def _norm(made: Generated, end: int) -> int:
    op = made.draw.choice(("layer_norm", "batch_norm", "rms_norm", "group_norm"))
    return made.weight(op, end, [made.width], "norm.weight")


def _convolution(made: Generated, end: int) -> int:
    op = made.draw.choice(("conv", "depthwise_conv", "dilated_conv", "transposed_conv"))
    kernel, groups = [made.draw.choice((1, 3, 5))] * 2, made.width if op == "depthwise_conv" else 1
    stride = made.draw.choice((1, 2, [1, 1], [2, 2]))
    end = made.weight(op, end, [made.width, made.width // groups, *kernel], kernel=kernel, stride=stride, groups=groups)
    return made.link(end, made.node(made.draw.choice(("relu", "max_pool", "mean", "sigmoid")), [2, made.width, 8, 8]))


def _gate(made: Generated, end: int) -> int:
    tanh = made.link(end, made.node("tanh", [2, made.width]))
    product = made.node("multiply", [2, made.width])
    made.link(end, product)
    return made.link(tanh, product)


def _side(made: Generated, end: int) -> int:
    shape = made.draw.choice(([1, 5, made.width], [1, 1, made.width], [made.width], [], [1, 16, made.width]))
    side = made.node("parameter", shape, made.slot(made.draw.choice(("pos_embed", "cls_token", "gamma")), shape))
    joined = made.node(made.draw.choice(("sum", "concat", "multiply")), [2, 5, made.width])
    made.link(side, joined)
    return made.link(end, joined)


def _any(made: Generated, end: int) -> int:
    shape = _shape(made.draw)
    if made.draw.random() < 0.3:
        return made.link(end, made.node(made.draw.choice(VOCABULARY), shape, **_attributes(made.draw)))
    return made.link(
        end,
        made.node(made.draw.choice(OWNING), shape, made.slot(made.draw.choice(WORDS), shape), **_attributes(made.draw)),
    )


_BLOCKS: Final = (_linear, _attention, _residual, _norm, _convolution, _gate, _side, _any, _any)


def _bend(made: Generated) -> None:
    """Change some of what was made, so that it fits less."""
    draw = made.draw
    for slot in made.slots:
        if draw.random() < 0.15:
            slot["dtype"] = draw.choice(DTYPES)
        if draw.random() < 0.05:
            slot["kind"] = "buffer"
    for node in made.nodes:
        if draw.random() < 0.06:
            node["attributes"] |= _attributes(draw)
        if draw.random() < 0.06:
            node["op"] = draw.choice(VOCABULARY)
        if draw.random() < 0.04:
            _reshape(made, node)
    made.edges = [edge for edge in made.edges if draw.random() > 0.04]
    if len(made.nodes) > 1 and draw.random() < 0.3:
        for _ in range(draw.randrange(1, 5)):
            made.edges.append(sorted(draw.sample(range(len(made.nodes)), 2)))
    _tie(made)


def _reshape(made: Generated, node: Json) -> None:
    node["shape"] = _shape(made.draw)
    slot = next((slot for slot in made.slots if slot["name"] == node["slot"]), None)
    if slot is None or made.draw.random() > 0.9:
        return
    slot["shape"] = list(node["shape"])
    for other in made.nodes:
        if other["slot"] == node["slot"]:
            other["shape"] = list(node["shape"])


def _tie(made: Generated) -> None:
    draw = made.draw
    for slot in made.slots[1:]:
        like = [other for other in made.slots if other["shape"] == slot["shape"] and other is not slot]
        like = [other for other in like if other["tied_to"] is None]
        used = any(other["tied_to"] == slot["name"] for other in made.slots)
        if draw.random() < 0.08 and like and not used:
            slot["tied_to"] = draw.choice(like)["name"]
    tied = {slot["name"]: slot["tied_to"] for slot in made.slots if slot["tied_to"] is not None}
    for node in made.nodes:
        node["slot"] = tied.get(node["slot"], node["slot"])


def _shape(draw: Random) -> list[int]:
    chance = draw.random()
    if chance < 0.15:
        return []
    if chance < 0.35:
        return [draw.choice((0, 1, 2, 7)) for _ in range(draw.randrange(1, 9))]
    return [draw.choice(SIDES) for _ in range(draw.choice((1, 2, 2, 2, 3, 4, 4, 5)))]


def _attributes(draw: Random) -> Json:
    found: Json = {}
    for key in ("kernel", "stride", "dilation"):
        if draw.random() < 0.4:
            found[key] = draw.choice((1, 2, [1, 1], [2, 2], [3, 3], [1], [1, 2, 3, 4, 5], 10**9, [10**9] * 3))
        if draw.random() < 0.02:
            found[key] = draw.choice((0, -1, [], [0], [-1, 2]))
    for key in ("groups", "heads"):
        if draw.random() < 0.3:
            found[key] = draw.choice((1, 2, 3, 4, 8, 10**9))
    if draw.random() < 0.3:
        found["layout"] = draw.choice(("in_out", "in_out", "", 1, 0.5, [1]))
    return found


def _layout(draw: Random) -> Json:
    config: Json = {"vocab_size": 20, "hidden_size": 8, "num_attention_heads": draw.choice((2, 0, -1, "x", None))}
    return {
        "source": draw.choice(("module", "timm", "transformers", "diffusers", "torchvision", "", "x")),
        "config": draw.choice(({}, {"model_type": draw.choice(("gpt2", "llama", "bert", "x", 1)), **config})),
        "weights_file": draw.choice(("model.safetensors", "diffusion_pytorch_model.safetensors")),
        "shardable": draw.random() < 0.5,
        "tied": draw.choice(("once", "each")),
        "dtype_key": draw.choice((None, "dtype", "torch_dtype", "")),
    }


def program(draw: Random, slot: Json, *, steps: int) -> Json:
    """Return an init program for a slot: memory of its shape, and a few operations by the words of their schemas."""
    size = list(slot["shape"])
    first = draw.choice(("empty.memory_format", "zeros.default", "randn.default", "ones.default"))
    dtype = {"dtype": slot["dtype"]}
    if slot["dtype"] not in ("float32", "float16", "bfloat16", "float64") and first == "randn.default":
        first = "zeros.default"
    made: list[Any] = [[first, [size], {"dtype": dtype}, [0]]]
    for register in range(1, steps):
        made.append(_runnable(draw, made, size, register))
    if draw.random() < 0.5 and slot["dtype"].startswith(("float", "bfloat")):
        std = draw.choice((0.02, 0.02, 0.02, 1, 0, 1e38) if steps == 1 else (0.02, -1))
        made.append(["normal_.default", [{"register": 0}], {"std": std}, [0]])
    stride: list[int] = []
    step = 1
    for side in reversed(size):
        stride.insert(0, step)
        step *= max(1, side)
    result = 0 if steps == 1 or draw.random() < 0.7 else draw.randrange(len(made))
    offset = draw.choice((0,) * 40 + (1, -1))
    return {"steps": made, "result": result, "size": size, "stride": stride, "offset": offset}


def _runnable(draw: Random, steps: list[Any], size: list[int], register: int) -> list[Any]:
    """Return one more step; of several, the first that can be run, since most cannot."""
    step = _step(draw, register, size)
    for _ in range(draw.choice((0, 4, 4))):
        try:
            program = program_from_json(
                {"steps": [*steps, step], "result": 0, "size": [], "stride": [], "offset": 0}, "x"
            )
            for _ in program.replay(torch.device("meta"), None):
                pass
        except GraphError:
            step = _step(draw, register, size)
        else:
            break
    return step


@cache
def overloads() -> tuple[Any, ...]:
    """Return every operation of tensors that an init program may hold."""
    found = []
    for packet in sorted(PACKETS):
        for name in getattr(torch.ops.aten, packet).overloads():
            operator = getattr(getattr(torch.ops.aten, packet), name)
            try:
                bound(InitStep(f"{packet}.{name}", (), {}, ()))
            except GraphError as error:
                if "needs" not in str(error):
                    continue
            found.append((f"{packet}.{name}", schema_of(operator)))
    return tuple(found)


def _step(draw: Random, register: int, size: list[int]) -> list[Any]:
    """Return a step of an operation, its arguments by position or by name."""
    operator, schema = draw.choice(overloads())
    arguments: list[Any] = []
    keywords: Json = {}
    by_name = draw.random() < 0.3
    for argument in schema.arguments:
        if argument.name in ("device", "layout", "pin_memory", "generator", "non_blocking"):
            by_name = True
            continue
        if argument.has_default_value() and draw.random() < 0.5:
            by_name = True
            continue
        value = _value(draw, str(argument.type), register, size)
        if by_name or argument.kwarg_only:
            keywords[argument.name] = value
        else:
            arguments.append(value)
    results = [register] if len(schema.returns) == 1 else [register, register + 100]
    if str(schema.returns[0].type) == "List[Tensor]":
        results = [register, *(register * 100 + part for part in range(draw.randrange(0, 4)))]
    if operator.partition(".")[0].endswith("_") and arguments and draw.random() < 0.5:
        results = [arguments[0].get("register", register) if isinstance(arguments[0], dict) else register]
    return [operator, arguments, keywords, results]


def _value(draw: Random, kind: str, register: int, size: list[int]) -> Any:
    """Return a value for an argument of this type, which fits more often than not."""
    if kind.startswith("Optional["):
        return None if draw.random() < 0.4 else _value(draw, kind.removeprefix("Optional[")[:-1], register, size)
    if kind.startswith("List["):
        if "Tensor" in kind:
            return [_value(draw, "Tensor", register, size) for _ in range(draw.randrange(1, 4))]
        return list(size) if draw.random() < 0.6 else [draw.choice((-1, 0, 1, 2, 5)) for _ in range(draw.randrange(4))]
    if kind == "Tensor":
        return {"register": draw.randrange(register)} if draw.random() < 0.9 else _constant(draw)
    if kind == "bool":
        return draw.random() < 0.5
    if kind == "str":
        return draw.choice(("trunc", "floor", "reduced", "complete", "r", "x"))
    if kind == "float":
        return draw.choice((0.0, 0.02, 1.0, -1.0, 0.5, 1e30, {"float": "nan"}, {"float": "inf"}))
    if kind in ("number", "Scalar"):
        return draw.choice(_NUMBERS)
    if kind in ("ScalarType", "int") and draw.random() < 0.3:
        return {"dtype": draw.choice(DTYPES)} if draw.random() < 0.7 else {"memory_format": "contiguous_format"}
    return draw.choice((0, 1, -1, 2, 3, 5, 64, -(2**63), 2**63 - 1))


def _constant(draw: Random) -> Json:
    values = torch.tensor([draw.choice((0, 1, -1, 2)) for _ in range(draw.randrange(1, 5))])
    dtype = draw.choice((torch.int64, torch.float32, torch.bool, torch.int32))
    content = values.to(dtype).view(torch.uint8).numpy().tobytes()
    return {"tensor": base64.b64encode(content).decode(), "dtype": str(dtype)[6:], "shape": [len(values)]}
