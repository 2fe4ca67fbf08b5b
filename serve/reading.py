"""Parse bodies and queries into requests: strict JSON, within limits."""

import gc
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, NoReturn, final

from paramgen.errors import one_line
from paramgen.registry.overrides import parse_overrides
from paramgen.storage.json_file import is_deeper
from serve.problems import Problem
from serve.schemas import PredictRequest, validated


def json_of(body: bytes, max_depth: int, max_values: int) -> Any:
    """Return the JSON of a body.

    Raises:
        Problem: It is no JSON, has too many or too deeply nested values, NaN, or half of a surrogate pair.

    """
    if sum(map(body.count, (b",", b"[", b"{"))) > max_values:  # some may be inside texts
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has more than {max_values:,} commas, objects and lists."
        )
    try:
        with _COLLECTOR.paused():
            data = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {one_line(error)}") from error
    if is_deeper(data, max_depth):
        raise Problem(HTTPStatus.BAD_REQUEST, f"The body is nested more than {max_depth} deep.")
    if b"\\u" in body:  # only this way a half can come in; encoding it later would fail
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, "The body has half of a surrogate pair in a text.") from error
    return data


@final
class _Collector:
    """Pauses the garbage collector while JSON is parsed: there are no cycles, but the collector visits every value."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            self._pauses += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if not self._pauses:
                    gc.enable()


_COLLECTOR: Final = _Collector()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def request_of_query(query: Iterable[tuple[str, str]]) -> PredictRequest:
    """Return the request of a query `arch=…&init=…&prompt=…&seed=…&dtype=…&as=…&set=k=v&set=k=v`."""
    given: dict[str, Any] = {}
    assignments: list[str] = []
    for name, value in query:
        if name == "set":
            assignments.append(value)
        elif name not in ("arch", "init", "prompt", "seed", "dtype", "as") or name in given:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"The query has {one_line(name)!r} twice, or that is unknown. Allowed: arch, init, prompt, seed, "
                "dtype, as, and set=key=value, repeatedly.",
            )
        else:
            given[name] = int(value) if name == "seed" and value.isdecimal() and len(value) < 20 else value
    if not {"arch", "prompt"} & given.keys():
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The query names no network: ?arch=vit_b16")
    request: PredictRequest = validated(PredictRequest, {**given, "set": parse_overrides(assignments)})
    return request
