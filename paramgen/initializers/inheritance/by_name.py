"""Which of a donor's slots each slot takes where both networks name their parts alike: blocks at even distances.

Numbers in names are those of blocks. Blocks in one list that are made of the same parts are of one kind, and those of
each kind are taken in order; so a stage's first block, which has a projection of its own, stays the first.
"""

from collections.abc import Mapping
from typing import Any, final

Tree = dict[str, Any]
"""Names by their words: under each a tree, or at its end the number of dimensions."""


def aligned(mine: Mapping[str, int], theirs: Mapping[str, int]) -> dict[str, str]:
    """Return the donor's name for each of mine that has one.

    Args:
        mine: The new network's slots: name and number of dimensions.
        theirs: The donor's.

    """
    return dict(_Alignment().pairs(_tree(mine), _tree(theirs)))


def spread(had: int, now: int, index: int) -> int:
    """Return which of the donor's `had` blocks the one of that index takes, of `now`: the first and last stay so."""
    return (2 * index * (had - 1) + now - 1) // (2 * (now - 1)) if now > 1 else 0


def _tree(names: Mapping[str, int]) -> Tree:
    tree: Tree = {}
    for name, dimensions in names.items():
        *path, last = name.split(".")
        here = tree
        for word in path:
            below = here.setdefault(word, {})
            if isinstance(below, int):  # a parameter and a module of one name: no module has both
                break
            here = below
        else:
            here.setdefault(last, dimensions)
    return tree


@final
class _Alignment:
    def __init__(self) -> None:
        self._kinds: dict[frozenset[tuple[str, int]], int] = {}
        self._known: dict[int, int] = {}

    def pairs(self, mine: Tree, theirs: Tree) -> list[tuple[str, str]]:
        """Return the pairs of names under two nodes."""
        found: list[tuple[str, str]] = []
        stack: list[tuple[str, str, Tree | int, Tree | int]] = [("", "", mine, theirs)]
        while stack:
            my_path, their_path, here, there = stack.pop()
            if not isinstance(here, int) and not isinstance(there, int):
                stack += (
                    (f"{my_path}.{word}", f"{their_path}.{other}", here[word], there[other])
                    for word, other in self._words(here, there)
                )
            elif here == there:
                found.append((my_path[1:], their_path[1:]))
        return found

    def _words(self, mine: Tree, theirs: Tree) -> list[tuple[str, str]]:
        found = [(word, word) for word in mine if not word.isdigit() and word in theirs]
        my_blocks, their_blocks = self._blocks(mine), self._blocks(theirs)
        for kind, words in my_blocks.items():
            others = their_blocks.get(kind)
            if others:
                chosen = (others[spread(len(others), len(words), index)] for index in range(len(words)))
                found += zip(words, chosen, strict=True)
            else:
                found += [(word, word) for word in words if word in theirs]
        return found

    def _blocks(self, node: Tree) -> dict[int, list[str]]:
        """Return the numbered words of a node by what is below them, in order."""
        found: dict[int, list[str]] = {}
        for word in sorted((word for word in node if word.isdigit()), key=int):
            found.setdefault(self._kind(node[word]), []).append(word)
        return found

    def _kind(self, node: Tree | int) -> int:
        """Return a number that two nodes have in common where the same is below them, numbers aside."""
        if isinstance(node, int):
            return -1 - node
        known = self._known.get(id(node))
        if known is None:
            below = frozenset(("*" if word.isdigit() else word, self._kind(child)) for word, child in node.items())
            known = self._known[id(node)] = self._kinds.setdefault(below, len(self._kinds))
        return known
