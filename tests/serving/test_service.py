"""How the service is started; `tests/house/test_serve_wheel.py` tries that it answers where its wheel is installed."""

import os
import sys
from typing import Any

import pytest

from paramgen import api
from paramgen.errors import MissingPackageError
from paramgen.serving import service


def test_it_takes_this_process_with_what_was_typed_and_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gone(Exception):
        """What no line after it is reached by."""

    started: list[Any] = []

    def execve(*given: Any) -> None:
        started.extend(given)
        raise Gone

    monkeypatch.setattr(service, "find_spec", lambda name: name == "paramgen_serve")
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setenv("PARAMGEN_SERVE_HOST", "0.0.0.0")
    with pytest.raises(Gone):
        api.serve(port=8123)
    program, arguments, environment = started
    assert program == sys.executable and arguments[1:] == ["-P", "-m", "paramgen_serve"]
    assert (environment["PARAMGEN_SERVE_HOST"], environment["PARAMGEN_SERVE_PORT"]) == ("0.0.0.0", "8123")


def test_where_it_is_not_installed_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="make build && pip install dist/"):
        api.serve()
