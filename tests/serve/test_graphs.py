"""Graphs made to hurt: refused by one line, whatever they say, and the next request is answered."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.graphs import with_unwritten_slot

Graphs = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve(max_body=2_000_000, seconds=300)


@pytest.fixture(scope="module")
def graph(graphs: Graphs) -> dict[str, Any]:
    return graphs()


def changed(graph: dict[str, Any], where: tuple[Any, ...], value: Any) -> dict[str, Any]:
    found: Any = copy.deepcopy(graph)
    *way, last = where
    target = found
    for step in way:
        target = target[step]
    target[last] = value
    return found


FOOTPRINT: dict[str, Any] = {"size": [10**6, 10**6], "stride": [10**6, 1], "offset": 0, "result": 0}
HUGE: dict[str, Any] = {"steps": [["ones.default", [[10**6, 10**6]], {}, [0]]], **FOOTPRINT}
LONG: dict[str, Any] = {
    "steps": [["ones.default", [[10**7]], {}, [0]], *([["exp_.default", [{"r": 0}], {}, [0]]] * 9_000)],
    "result": 0,
    "size": [16],
    "stride": [1],
    "offset": 0,
}


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("edges",), [[0, 1], [1, 0]]),
        (("edges",), [[0, 0]]),
        (("edges",), [[0, 10**30]]),
        (("edges",), [[-1, 2]]),
        (("edges",), [[0, 1]] * 2),
        (("edges",), [[0.5, 1]]),
        (("nodes",), []),
        (("nodes", 1, "op"), "__import__"),
        (("nodes", 1, "op"), "ｌinear"),
        (("nodes", 1, "slot"), "nowhere"),
        (("nodes", 1, "shape"), [10**12]),
        (("nodes", 1, "shape"), [-1]),
        (("nodes", 1, "shape"), [1] * 100),
        (("nodes", 1, "attributes"), {"kernel": "3"}),
        (("nodes", 1, "attributes"), {"kernel": [10**12]}),
        (("nodes", 1, "attributes"), [1]),
        (("slots", 0, "shape"), [10**6, 10**6]),
        (("slots", 0, "shape"), [2**40]),
        (("slots", 0, "dtype"), "object"),
        (("slots", 0, "dtype"), "__class__"),
        (("slots", 0, "name"), "blocks.0.weight"),
        (("slots", 0, "name"), "x" * 20_000),
        (("slots", 0, "tied_to"), "stem.weight"),
        (("slots", 0, "init_program"), HUGE),
        (("slots", 0, "init_program"), LONG),
        (("slots", 0, "init_program"), {"steps": [["set_.default", [], {}, [0]]], **FOOTPRINT}),
        (("slots", 0, "init_program"), {"steps": 1}),
        (("slots",), {}),
        (("layout", "weights_file"), "../../etc/passwd"),
        (("layout", "tied"), "never"),
        (("layout", "config"), []),
        (("paramgen_graph",), 2),
        (("paramgen_graph",), True),
        (("spec",), "x" * 20_000),
        (("traced_by",), None),
    ],
)
def test_a_graph_that_is_none(where: tuple[Any, ...], value: Any, graph: dict[str, Any], running: Any) -> None:
    answer = running.predict({"graph": changed(graph, where, value), "init": "library"})
    assert answer.status_code == 422, answer.text
    assert "\n" not in answer.json()["detail"]


def test_a_million_nodes(graph: dict[str, Any], running: Any, serve: Any) -> None:
    many = changed(graph, ("nodes",), [0] * 10**6)
    assert running.predict({"graph": many}).status_code == 413
    wider = serve(max_body=10_000_000)
    answer = wider.predict({"graph": many})
    assert (answer.status_code, "commas, objects and lists" in answer.json()["detail"]) == (413, True)
    answer = serve(max_body=10_000_000, max_values=2 * 10**6).predict({"graph": many})
    assert (answer.status_code, "at most 20,000 are served" in answer.json()["detail"]) == (422, True)


def test_names_are_names_and_nothing_else(graph: dict[str, Any], running: Any) -> None:
    names = [
        "../../../etc/passwd",
        "a\r\nSet-Cookie: x",
        "\u202egnp",
        "a\x00b",
        "__metadata__.x",
        "é",
        "\U0001f600" * 9,
    ]
    for name in names:
        odd = changed(graph, ("slots", 0, "name"), name)
        odd = changed(odd, ("nodes",), [node for node in odd["nodes"] if node["slot"] != "stem.weight"])
        odd = changed(odd, ("edges",), [])
        answer = running.predict({"graph": odd, "init": "library"})
        assert answer.status_code in (200, 422)
        assert "set-cookie" not in answer.headers
    folder = running.predict({"graph": changed(graph, ("spec",), "../../x"), "init": "library", "as": "folder"})
    assert folder.status_code == 200 and b"../" not in folder.content[:60]


@pytest.mark.parametrize("tensor", [math.nan, math.inf])
def test_numbers_that_json_does_not_have(tensor: float, graph: dict[str, Any], running: Any) -> None:
    import json

    odd = json.dumps({"graph": changed(graph, ("nodes", 1, "attributes"), {"alpha": tensor})})
    answer = running.client.post("/v1/predict", content=odd, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_what_a_draw_does_not_write_is_zero_and_no_memory_of_ours(graph: dict[str, Any], running: Any) -> None:
    """Of a process that answers others, above all."""
    import torch
    from safetensors.torch import load

    blank = with_unwritten_slot(graph)
    torch.use_deterministic_algorithms(True)  # fills what it hands out with 255
    try:
        answers = [running.predict({"graph": blank, "init": "library"}) for _ in range(2)]
    finally:
        torch.use_deterministic_algorithms(False)
    assert int(load(answers[0].content)["blank"].count_nonzero()) == 0
    assert answers[0].content == answers[1].content and answers[0].headers["etag"] == answers[1].headers["etag"]


@pytest.mark.parametrize(
    "step",
    [
        ["split.Tensor", [], {"self": {"register": 0}, "split_size": 1}, [1]],
        ["unbind.int", [], {"self": {"register": 0}}, [1]],
        ["sum.default", [{"register": 0}], {"dtype": 64}, [1]],  # ended the process
        ["random_.from", [{"register": 0}, 2**63 - 1, None], {}, [0]],  # did not end
    ],
)
def test_operations_that_hurt_torch_are_refused(step: list[Any], graph: dict[str, Any], running: Any) -> None:
    odd = changed(graph, ("slots", 0, "init_program", "steps"), [["empty.memory_format", [[9_999_999]], {}, [0]], step])
    answer = running.predict({"graph": odd, "init": "library"})
    assert answer.status_code == 422 and "cannot be run" in answer.json()["detail"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=40)
@given(data=st.data())
def test_a_graph_with_anything_anywhere(data: st.DataObject, graph: dict[str, Any], running: Any) -> None:
    way: list[Any] = []
    at: Any = graph
    while isinstance(at, (dict, list)) and at and (not way or data.draw(st.integers(0, 4))):
        way.append(data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at)))))
        at = at[way[-1]]
    body = {"graph": changed(graph, tuple(way), data.draw(VALUES)), "init": "library"}
    assert running.predict(body).status_code in (200, 400, 422)
