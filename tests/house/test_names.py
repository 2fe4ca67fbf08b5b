"""One name, one meaning, for classes and constants: a reader who meets a name need not ask which module it is from."""

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "paramgen"


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


def constants_in(source: str) -> dict[str, str]:
    """The constants of a module that others may import, and what they are."""
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
                found[target.id] = ast.unparse(node.value)  # type: ignore[attr-defined]
    return found


def test_no_class_name_is_defined_twice() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        for name in classes_in(file.read_text(encoding="utf-8")):
            places[name].append(str(file.relative_to(PACKAGE)))
    assert len(places) > 100
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_constant_has_two_values() -> None:
    values: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(PACKAGE.rglob("*.py")):
        for name, value in constants_in(file.read_text(encoding="utf-8")).items():
            values[name][value].append(str(file.relative_to(PACKAGE)))
    assert len(values) > 300
    assert {name: dict(found) for name, found in values.items() if len(found) > 1} == {}


def test_the_checks_see_classes_aliases_and_constants() -> None:
    assert classes_in('class A:\n    class B: ...\nC = Literal["x"]\nD = 1\n') == ["A", "B", "C"]
    assert constants_in("A: Final = 1\nB_C = 2\n_D = 3\ne = 4\nF = f(1)\n") == {"A": "1", "B_C": "2", "F": "f(1)"}
