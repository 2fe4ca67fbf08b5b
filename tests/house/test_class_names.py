"""One class name, one meaning: a reader who meets a name need not ask which module it is from."""

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "paramgen"
ALLOWED: Final[dict[str, str]] = {
    "Form": "what a codec or a zoo stores; neither knows the other",
    "Metric": "what a comparison measures, and what a table of measurements may hold: the latter is JSON",
    "Task": "what a network is trained for, and what a zoo's networks do",
}
"""Names that may be defined more than once, and why."""


def classes_in(source: str) -> list[str]:
    """The names of the classes of a module, and of its aliases of `Literal` types, which are read as classes."""
    tree = ast.parse(source)
    found = [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
            base = node.value.value
            if isinstance(base, ast.Name) and base.id == "Literal":
                found += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return found


def test_no_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for name in classes_in(file.read_text(encoding="utf-8")):
            places[name].append(str(file.relative_to(PACKAGE)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in ALLOWED} == {}


def test_the_check_sees_classes_and_aliases() -> None:
    assert classes_in('class A:\n    class B: ...\nC = Literal["x"]\nD = 1\n') == ["A", "B", "C"]
