"""How annotations are checked while tests run: as jaxtyping does it, which takes as long as the tests, in less time.

Its decorator binds the arguments of every call by their names, to report shapes; where no shape is annotated, beartype
alone says the same. And it has bytecode stand under another name while a module is run, so that of all that the module
imports, torch and transformers too, no bytecode is found.
"""

from collections.abc import Callable
from dataclasses import is_dataclass
from functools import partial
from importlib.machinery import SourceFileLoader
from inspect import isclass, isfunction
from types import CodeType
from typing import Any, ForwardRef, get_args, get_type_hints
from unittest.mock import patch

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import _import_hook

jaxtyped = jaxtyping.jaxtyped
without_shapes = beartype(conf=BeartypeConf(violation_type=jaxtyping.TypeCheckError))


def has_shapes(annotation: Any) -> bool:
    """Say whether jaxtyping is needed: for shapes, and for what is only known later."""
    if isinstance(annotation, list):  # the parameters of a Callable
        return any(map(has_shapes, annotation))
    if isinstance(annotation, str | ForwardRef):
        return True
    return (isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray)) or any(
        map(has_shapes, get_args(annotation))
    )


def has_no_shapes(function: Any) -> bool:
    try:
        return not any(map(has_shapes, get_type_hints(function, include_extras=True).values()))
    except NameError:
        return False


def checked(function: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    """Do what `jaxtyping.jaxtyped` does."""
    if function is None:
        return partial(checked, typechecker=typechecker)
    if isclass(function) and is_dataclass(function) and "__init__" in vars(function):
        function.__init__ = checked(function.__init__, typechecker=typechecker)
        return function
    if isfunction(function) and has_no_shapes(function):
        return without_shapes(function)
    return jaxtyped(function, typechecker=typechecker)


def get_code(loader: Any, fullname: str) -> CodeType | None:
    """Find bytecode with checks under a name of its own."""
    marked = partial(_import_hook._optimized_cache_from_source, loader._typechecker.get_hash())
    with patch("importlib._bootstrap_external.cache_from_source", marked):
        return SourceFileLoader.get_code(loader, fullname)


jaxtyping.jaxtyped = checked  # type: ignore[assignment]
_import_hook._JaxtypingLoader.get_code = get_code  # type: ignore[assignment]
_import_hook._JaxtypingLoader.exec_module = SourceFileLoader.exec_module
