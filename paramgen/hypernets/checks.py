"""Checks that configurations and encoders of hypernets share."""

from paramgen.errors import HypernetError
from paramgen.graphs.views.view import View


def within(name: str, value: int | float, least: int | float, most: int | float) -> None:
    """Raise a `HypernetError` unless `value` lies between the two, both included."""
    if not least <= value <= most:
        raise HypernetError(f"{name} is {value}; allowed are {least} to {most}.")


def check_view(view: View, primitives: int, most_nodes: int) -> None:
    """Refuse a view that is too large, that contradicts itself, or that names unknown primitives.

    Raises:
        HypernetError: The view is refused.
    """
    nodes = len(view.primitives)
    within("The number of nodes that a hypernet reads", nodes, 1, most_nodes)
    if len(view.shapes) != nodes or tuple(view.distances.shape) != (nodes, nodes):
        raise HypernetError(
            f"{nodes} primitives, {len(view.shapes)} shapes and distances of shape {tuple(view.distances.shape)}; "
            "a view has one shape, one row and one column per node."
        )
    if not 0 <= int(view.primitives.min()) <= int(view.primitives.max()) < primitives:
        raise HypernetError(
            f"A primitive of index {int(view.primitives.max())}; this hypernet knows {primitives}. "
            "Use a hypernet trained with this version's vocabulary."
        )
