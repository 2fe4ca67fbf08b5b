"""The only gate through which optional libraries are imported."""

import importlib
from types import ModuleType

from paramgen.errors import MissingPackageError


def require(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or say which extra of paramgen installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingPackageError(f"{module} is not installed. {how_to_install(extra)}") from error


def how_to_install(extra: str) -> str:
    """Say what to type for an extra: paramgen is on no package index, so the name alone might be anybody's."""
    return f"Type in a clone of paramgen's repository: pip install '.[{extra}]'"
