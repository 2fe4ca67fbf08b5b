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
        raise MissingPackageError(f"{module} is not installed. Type: pip install 'paramgen[{extra}]'") from error
