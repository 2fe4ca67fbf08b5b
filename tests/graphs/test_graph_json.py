"""Graphs as JSON: what we write comes back the same; what anybody else writes is a graph or a `GraphError`."""

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from paramgen.architectures import Architecture, resolve
from paramgen.architectures.module import from_module
from paramgen.errors import GraphError, OutputError
from paramgen.graphs.graph_json import graph_from_json, graph_hash, graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.graphs.tracing.trace import trace
from paramgen.graphs.views.native import native_view
from paramgen.initializers.library import default_weights
from paramgen.slots.init_program import slot_generator

SMALL = (
    "gpt2?n_layer=1&n_embd=48&n_head=4&vocab_size=60",
    "transformers:swin?embed_dim=24&depths=[1,1]&num_heads=[2,2]&image_size=64",
    "timm:resnet18",
    "timm:vit_tiny_patch16_224?depth=1",
    "torchvision:swin_t",
    "diffusers:AutoencoderKL",
)
SLOW = (
    "vit_b16",
    "gpt2",
    "transformers:llama?num_hidden_layers=2&hidden_size=64&num_attention_heads=4&intermediate_size=128",
    "transformers:bert",
    "timm:convnext_atto",
    "timm:mixer_s32_224",
    "torchvision:resnet50",
    "diffusers:UNet2DModel",
)
MORE = (
    "transformers:t5",
    "transformers:convnext",
    "transformers:resnet",
    "transformers:swin",
    "transformers:clip",
    "timm:vit_tiny_patch16_224",
    "timm:efficientnet_b0",
    "timm:swin_tiny_patch4_window7_224",
    "torchvision:vit_b_16",
    "torchvision:densenet121",
    "torchvision:googlenet",
    "diffusers:DiTTransformer2DModel",
)


def graphed(architecture: Architecture) -> Graph:
    assert architecture.module is not None and architecture.example is not None
    return trace(architecture.module, architecture.manifest, architecture.example)


def comes_back(spec: str) -> None:
    architecture = resolve(spec)
    graph = graphed(architecture)
    text = graph_to_json(architecture, graph)
    read, again = graph_from_json(text)
    assert graph_hash(again) == graph_hash(graph)
    assert graph_to_json(read, again) == text
    assert (read.spec, read.layout, read.pixel_std) == (architecture.spec, architecture.layout, architecture.pixel_std)
    assert list(read.manifest) == list(architecture.manifest)
    small = [slot for slot in architecture.manifest.filled if slot.elements < 300_000][:40]
    assert all(torch.equal(default_weights(slot, 1), default_weights(read.manifest[slot.name], 1)) for slot in small)
    assert not [slot.name for slot in architecture.manifest.filled if slot.program is None]


@pytest.mark.parametrize("spec", SMALL[:3])
def test_architectures_come_back_the_same(spec: str) -> None:
    comes_back(spec)


@pytest.mark.parametrize(
    "spec",
    [
        *(pytest.param(spec, marks=pytest.mark.slow) for spec in (*SMALL[3:], *SLOW)),
        *(pytest.param(spec, marks=pytest.mark.thorough) for spec in MORE),
    ],
)
def test_every_architecture_comes_back_the_same(spec: str) -> None:
    comes_back(spec)


def test_a_kept_value_cannot_travel() -> None:
    layer = nn.Linear(2, 2)
    layer.scale = nn.Parameter(torch.randn(2))
    architecture = from_module(layer)
    with pytest.raises(OutputError, match="'scale' keeps the value"):
        graph_to_json(architecture, graphed(architecture))


def test_of_a_live_module_plain_values_and_its_layers_own_programs_travel() -> None:
    module: Any = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    nn.init.zeros_(module[2].weight)
    nn.init.constant_(module[0].bias, -4.6)
    architecture = from_module(module)
    text = graph_to_json(architecture, graphed(architecture))
    manifest = graph_from_json(text)[0].manifest
    drawn = manifest["0.weight"].program
    assert drawn is not None and drawn.random and not drawn.kept
    values = {name: program(slot_generator(0, name)) for name, slot in manifest.items() if (program := slot.program)}
    assert not values["0.weight"].equal(module[0].weight)
    assert all(values[name].equal(tensor) for name, tensor in module.state_dict().items() if name != "0.weight")


F32 = {"dtype": {"dtype": "float32"}}
EMPTY = ["empty.memory_format", [[4, 4]], F32, [0]]
BASE: dict[str, Any] = {
    "paramgen_graph": 1,
    "spec": "x",
    "traced_by": "hand",
    "layout": {
        "source": "timm",
        "config": {},
        "weights_file": "model.safetensors",
        "shardable": False,
        "tied": "each",
        "dtype_key": None,
    },
    "nodes": [
        {"op": "input", "name": "i", "slot": None, "shape": [2, 4]},
        {"op": "linear", "name": "w", "slot": "w", "shape": [4, 4], "attributes": {}},
        {"op": "max_pool", "name": "p", "slot": None, "shape": [2, 4], "attributes": {"kernel": [2, 2]}},
    ],
    "edges": [[0, 1], [1, 2]],
    "slots": [
        {
            "name": "w",
            "shape": [4, 4],
            "dtype": "float32",
            "kind": "parameter",
            "owner": "",
            "owner_type": "",
            "tied_to": None,
            "init_program": {
                "steps": [EMPTY, ["normal_.default", [{"register": 0}, 0.0, 1.0], {}, [0]]],
                "result": 0,
                "size": [4, 4],
                "stride": [4, 1],
                "offset": 0,
            },
        }
    ],
}


def changed(**entries: Any) -> str:
    return json.dumps({**BASE, **entries})


def at(place: str, index: int, **entries: Any) -> str:
    data = copy.deepcopy(BASE)
    data[place][index].update(entries)
    return json.dumps(data)


def with_program(*steps: Any, result: int = 0, **entries: Any) -> str:
    program = {"steps": list(steps), "result": result, "size": [4, 4], "stride": [4, 1], "offset": 0, **entries}
    return at("slots", 0, init_program=program)


def op(name: str, *arguments: Any, out: Any = 1, **keywords: Any) -> list[Any]:
    return [name, list(arguments), keywords, out if isinstance(out, list) else [out]]


def constant(values: Tensor, dtype: str, shape: list[int]) -> dict[str, Any]:
    return {"tensor": base64.b64encode(values.numpy().tobytes()).decode(), "dtype": dtype, "shape": shape}


R0, R1 = {"register": 0}, {"register": 1}
FAR = constant(torch.tensor([100]), "int64", [1])
BIG = ["empty.memory_format", [[10**7]], F32, [0]]

HOSTILE: dict[str, str] = {
    "no JSON": "{",
    "nothing": "",
    "a list": "[]",
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * 100_000,
    "ten thousand digits": json.dumps(BASE).replace("[2, 4]", f"[{'9' * 10_000}]", 1),
    "not a number": json.dumps(BASE).replace("[2, 4]", "[NaN]", 1),
    "infinity": json.dumps(BASE).replace("[2, 4]", "[Infinity]", 1),
    "version 2": changed(paramgen_graph=2),
    "version true": changed(paramgen_graph=True),
    "unknown key": changed(more=1),
    "a spec that is none": changed(spec=[1]),
    "a tracer that is none": changed(traced_by=None),
    "backward edge": changed(edges=[[1, 0]]),
    "cycle of one": changed(edges=[[1, 1]]),
    "edge twice": changed(edges=[[0, 1], [0, 1]]),
    "edge beyond": changed(edges=[[0, 5]]),
    "negative edge": changed(edges=[[-1, 1]]),
    "triples": changed(edges=[[0, 1, 2]]),
    "flat edges": changed(edges=[0, 1]),
    "edges of text": changed(edges=[["0", "1"]]),
    "fractional edges": changed(edges=[[0, 1.5]]),
    "edges of booleans": changed(edges=[[False, True]]),
    "ragged edges": changed(edges=[[0], [1, 2]]),
    "nested edges": changed(edges=[[[0, 1]]]),
    "edges beyond 64 bits": changed(edges=[[0, 10**30]]),
    "no nodes": changed(nodes=[]),
    "nodes of text": changed(nodes="abc"),
    "nodes of nothing": changed(nodes=[None]),
    "a million nodes": changed(nodes=BASE["nodes"][:1] * 10**6),
    "unknown operation": at("nodes", 1, op="conv9"),
    "an operation that is none": at("nodes", 1, op=None),
    "a name of a megabyte": at("nodes", 1, name="x" * 10**6),
    "a slot that is not there": at("nodes", 1, slot="z"),
    "another shape than the slot": at("nodes", 1, shape=[4, 5]),
    "a kernel of text": at("nodes", 2, attributes={"kernel": "x"}),
    "a kernel of fractions": at("nodes", 2, attributes={"kernel": [1.5]}),
    "a huge kernel": at("nodes", 2, attributes={"kernel": 10**30}),
    "a list of groups": at("nodes", 2, attributes={"groups": [0, 0]}),
    "no groups": at("nodes", 2, attributes={"groups": 0}),
    "nested attributes": at("nodes", 2, attributes={"layout": {"a": 1}}),
    "10^12 elements": at("slots", 0, shape=[10**6, 10**6]),
    "10^400 elements": at("slots", 0, shape=[10**400]),
    "a million dimensions": at("slots", 0, shape=[1] * 10**6),
    "a negative size": at("slots", 0, shape=[-1]),
    "a size that is true": at("slots", 0, shape=[True]),
    "unknown dtype": at("slots", 0, dtype="os"),
    "quantized dtype": at("slots", 0, dtype="quint8"),
    "dtype that is none": at("slots", 0, dtype=["float32"]),
    "unknown kind": at("slots", 0, kind="x"),
    "duplicate slots": changed(slots=BASE["slots"] * 2),
    "tied to nothing": at("slots", 0, tied_to="z"),
    "tied to itself": at("slots", 0, tied_to="w"),
    "tied in a chain": changed(
        slots=[
            *BASE["slots"],
            {**BASE["slots"][0], "name": "a", "tied_to": "b"},
            {**BASE["slots"][0], "name": "b", "tied_to": "w"},
        ]
    ),
    "half a slot": changed(slots=[{"name": "w"}]),
    "another file": changed(layout={**BASE["layout"], "weights_file": "../../x"}),
    "another way to tie": changed(layout={**BASE["layout"], "tied": ["once"]}),
    "a config of pairs": changed(layout={**BASE["layout"], "config": [["a", 1]]}),
    "a dtype key that is none": changed(layout={**BASE["layout"], "dtype_key": [1]}),
    "an init program that is none": at("slots", 0, init_program=[1]),
    "program: unknown operation": with_program(op("foo.default", out=0)),
    "program: forbidden operation": with_program(op("from_file.default", "x", out=0)),
    "program: an attribute for an overload": with_program(op("empty.__class__", out=0)),
    "program: no steps": with_program(),
    "program: too many steps": with_program(*[EMPTY] * 10_001),
    "program: half a step": with_program(["empty.memory_format"]),
    "program: register before it is made": with_program(op("normal_.default", R1, out=0)),
    "program: a result nobody makes": with_program(EMPTY, result=9),
    "program: more results than it has": with_program([*EMPTY[:3], [0, 1]]),
    "program: another device": with_program(op("empty.memory_format", [4, 4], out=0, device="cuda")),
    "program: pinned memory": with_program(op("empty.memory_format", [4, 4], out=0, pin_memory=True)),
    "program: another dtype": with_program(op("empty.memory_format", [4, 4], out=0, dtype={"dtype": "float64"})),
    "program: a huge integer": with_program(op("full.default", [4, 4], 10**400, out=0, **F32)),
    "program: expand": with_program(EMPTY, op("expand.default", R0, [10**12, 4, 4])),
    "program: repeat": with_program(EMPTY, op("repeat.default", R0, [10**6, 10**6])),
    "program: pad": with_program(EMPTY, op("constant_pad_nd.default", R0, [10**9, 0, 10**9, 0])),
    "program: arange": with_program(op("arange.default", 10**13, out=0, **F32)),
    "program: fine arange": with_program(op("arange.start_step", 0, 1, 1e-13, out=0, **F32)),
    "program: eye": with_program(op("eye.default", 10**7, out=0, **F32)),
    "program: linspace": with_program(op("linspace.default", 0, 1, 10**13, out=0, **F32)),
    "program: randperm": with_program(op("randperm.default", 10**12, out=0)),
    "program: full": with_program(op("full.default", [10**6, 10**7], 1.0, out=0, **F32)),
    "program: outer sum": with_program(BIG, op("unsqueeze.default", R0, 1), op("add.Tensor", R0, R1, out=2)),
    "program: diagonal matrix": with_program(BIG, op("diag.default", R0)),
    "program: ten million parts": with_program(BIG, op("unbind.int", R0)),
    "program: ten million splits": with_program(BIG, op("split.Tensor", R0, 1)),
    "program: doubling": with_program(
        EMPTY, *[op("cat.default", [{"register": i}] * 2, out=i + 1) for i in range(40)], result=40
    ),
    "program: a thousand live tensors": with_program(BIG, *[op("add.Tensor", R0, R0, out=i + 1) for i in range(1000)]),
    "program: work without end": with_program(BIG, *[op("erfinv_.default", R0, out=0) for _ in range(9000)]),
    "program: sums without end": with_program(BIG, *[op("sum.default", R0, out=1) for _ in range(9000)]),
    "program: factorizations without end": with_program(
        ["empty.memory_format", [[3000, 3000]], F32, [0]],
        *[op("linalg_qr.default", R0, out=[1, 2]) for _ in range(50)],
    ),
    "program: view beyond memory": with_program(EMPTY, op("as_strided.default", R0, [4, 4], [100, 1], 10**6), result=1),
    "program: result beyond memory": with_program(EMPTY, offset=1),
    "program: result of long strides": with_program(EMPTY, stride=[100, 1]),
    "program: result of negative strides": with_program(EMPTY, stride=[-1, 1]),
    "program: strides too few": with_program(EMPTY, stride=[4]),
    "program: size of another slot": with_program(EMPTY, size=[4, 5]),
    "program: index beyond": with_program(
        EMPTY, op("index_put_.default", R0, [FAR], constant(torch.ones(1), "float32", [1]), out=0)
    ),
    "program: scatter beyond": with_program(EMPTY, op("scatter_.value", R0, 0, {**FAR, "shape": [1, 1]}, 5.0, out=0)),
    "program: probability of 7": with_program(EMPTY, op("bernoulli_.float", R0, 7.0, out=0)),
    "program: deviation of -1": with_program(EMPTY, op("normal_.default", R0, 0.0, -1.0, out=0)),
    "program: constant of too few bytes": with_program(
        op("clone.default", constant(torch.ones(1), "float32", [4, 4]), out=0)
    ),
    "program: constant of no base64": with_program(
        op("clone.default", {"tensor": "!", "dtype": "float32", "shape": [4, 4]}, out=0)
    ),
    "program: constant that is a number": with_program(
        op("clone.default", {"tensor": 5, "dtype": "float32", "shape": [4, 4]}, out=0)
    ),
    "pixels: no number": json.dumps({**BASE, "pixel_std": "0.5"}),
    "pixels: no std": json.dumps({**BASE, "pixel_std": 0}),
    "pixels: more than any number": json.dumps({**BASE, "pixel_std": float("inf")}),
    "program: unknown value": with_program(op("empty.memory_format", {"what": 1}, out=0)),
    "program: a float that is none": with_program(op("full.default", [4, 4], {"float": "zz"}, out=0, **F32)),
}


def use(text: str) -> None:
    """Do with the graph what a server does."""
    architecture, graph = graph_from_json(text)
    native_view(graph, architecture.manifest)
    for slot in architecture.manifest.filled:
        start = default_weights(slot, 0)
        assert (tuple(start.shape), start.dtype) == (slot.shape, slot.dtype)
    graph_to_json(architecture, graph)


def test_the_base_of_these_tests_is_a_graph() -> None:
    use(json.dumps(BASE))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graphs_are_one_line(name: str) -> None:
    with pytest.raises(GraphError) as caught:
        use(HOSTILE[name])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([2**31, 2**63, -(2**63), 10**12, 10**400]),
    st.floats(),
    st.sampled_from(["", "w", "float16", "uniform_.default", "expand.default", "repeat.default", "\ud800", "\0"]),
    st.lists(st.integers(-2, 10**7), max_size=9),
    st.fixed_dictionaries({"register": st.integers(-1, 3)}),
    st.just({"dtype": "int64"}),
    st.just({}),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(places(BASE)[1:]), ODD), min_size=1, max_size=3))
def test_any_change_leaves_a_graph_or_a_graph_error(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    data = copy.deepcopy(BASE)
    for path, value in changes:
        owner: Any = data
        try:
            for key in path[:-1]:
                owner = owner[key]
            owner[path[-1]] = copy.deepcopy(value)
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took the place away
    try:
        use(json.dumps(data))
    except GraphError as error:
        assert "\n" not in str(error)


def test_structure_alone_decides_the_hash() -> None:
    def hashed(change: Callable[[dict[str, Any]], object]) -> str:
        data = copy.deepcopy(BASE)
        change(data)
        return graph_hash(graph_from_json(json.dumps(data))[1])

    same = hashed(lambda data: data)
    assert same == hashed(lambda data: data.update(spec="y"))
    assert same != hashed(lambda data: data["edges"].pop())
    assert same != hashed(lambda data: data["nodes"][2]["attributes"].clear())
