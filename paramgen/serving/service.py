"""Start the service, which is a distribution of its own: paramgen does not know what it is made of."""

import os
import sys
from importlib.util import find_spec
from typing import Final, NoReturn

from paramgen.errors import MissingPackageError

SERVICE_PACKAGE: Final = "paramgen_serve"


def start_service(*, host: str | None = None, port: int | None = None) -> NoReturn:
    """Put the service in this process's place: it has signals, log lines and limits of its own.

    Raises:
        MissingPackageError: It is not installed.

    """
    if find_spec(SERVICE_PACKAGE) is None:
        raise MissingPackageError(
            "The service is not installed. Type in a clone of paramgen's repository: make build && pip install "
            "dist/*.whl (or, to run it from there: python -m serve)"
        )
    given = {"HOST": host, "PORT": port}
    settings = {f"PARAMGEN_SERVE_{name}": str(value) for name, value in given.items() if value is not None}
    os.execve(sys.executable, [sys.executable, "-P", "-m", SERVICE_PACKAGE], os.environ | settings)
