"""What is read off files is what the classes say."""

import importlib
from typing import Any

import pytest

from paramgen.architectures import sources
from paramgen.initializers import initializers
from paramgen.modifiers import modifiers
from paramgen.registry import Registry
from paramgen.registry.definitions import (
    INITIALIZER_PACKAGE,
    MODIFIER_PACKAGE,
    SOURCE_PACKAGE,
    definition_of,
    registered_in,
)

REGISTRIES: dict[str, Registry[Any]] = {
    INITIALIZER_PACKAGE: initializers,
    MODIFIER_PACKAGE: modifiers,
    SOURCE_PACKAGE: sources,
}


@pytest.mark.parametrize("package", REGISTRIES)
def test_every_file_registers_the_name_that_it_has(package: str) -> None:
    for name in registered_in(package):
        importlib.import_module(f"{package}.{name}")
    own = {name for name, kind in REGISTRIES[package]._classes.items() if kind.__module__.startswith(f"{package}.")}
    assert own == set(registered_in(package)) != set()
    assert all(REGISTRIES[package].get(name).__module__ == f"{package}.{name}" for name in own)


@pytest.mark.parametrize("package", REGISTRIES)
def test_docstrings_and_constants_are_those_of_the_class(package: str) -> None:
    for name in registered_in(package):
        kind, read = REGISTRIES[package].get(name), definition_of(package, name)
        assert (kind.__doc__ or "").strip().split("\n")[0] == read.class_doc.split("\n")[0] != ""
        assert (importlib.import_module(kind.__module__).__doc__ or "").strip() == read.module_doc.strip() != ""
        for constant in ("group", "applies_to", "runs_network"):
            known = getattr(kind, constant, None)
            if not isinstance(known, property):  # which an option of the object decides
                assert read.constants.get(constant) == known, (name, constant)


def test_a_package_that_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        registered_in("no.such.package")
