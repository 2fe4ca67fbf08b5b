"""Graphs as JSON that tests send to a service and to an endpoint alike."""

from typing import Any


def with_unwritten_slot(graph: dict[str, Any]) -> dict[str, Any]:
    """Return the graph with one more slot, `blank`, whose init program asks for memory and never writes to it."""
    steps = [["empty.memory_format", [[4096]], {"dtype": {"dtype": "uint8"}}, [0]]]
    program = {"steps": steps, "result": 0, "size": [4096], "stride": [1], "offset": 0}
    slot = {
        **graph["slots"][0],
        "name": "blank",
        "shape": [4096],
        "dtype": "uint8",
        "kind": "buffer",
        "init_program": program,
    }
    return {**graph, "slots": [*graph["slots"], slot]}
