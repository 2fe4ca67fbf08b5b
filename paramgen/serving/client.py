"""Initial weights that a server computes: it receives the network's graph and returns the weights file.

The file's header is known here before the download, so names, shapes and dtypes are checked and not trusted; a broken
download resumes where it broke; at the end the file is compared with the digest that the server states (RFC 9530).
"""

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Final, final
from urllib.parse import urlsplit

import httpx2
import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import EndpointError, OptionError, RecipeError, one_line
from paramgen.graphs.graph_json import graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.initializers import NamedTensors, initializer_of
from paramgen.initializers.library import KEPT
from paramgen.output.planning import plan_files
from paramgen.prediction import Prediction, prediction_of
from paramgen.serving.recipe import MAX_RECIPE_BYTES, recipe_from_data
from paramgen.storage.plan import Plan

KEY: Final = "PARAMGEN_KEY"
ATTEMPTS: Final = 6  # in a row without a new byte
CONNECTIONS: Final = 3  # attempts to reach a server that has not sent a byte yet
LONGEST_WAIT: Final = 60.0
MAX_PROBLEM: Final = 65_536
_ONE_FILE: Final = 2**62
_BUSY: Final = (429, 502, 503, 504)
_TIMEOUT: Final = httpx2.Timeout(30.0, read=600.0)  # no bytes come while a large network is queued


def remote(prediction: Prediction, endpoint: str, *, tokenizer: str | None = None) -> Prediction:
    """Return the same prediction, computed by the server at `endpoint`; its key, if it needs one, is in PARAMGEN_KEY.

    `auto` chooses for the graph alone, as that is what the server sees. Where the initializer depends on a tokenizer,
    the server receives the spelling of its tokens, never the file. Values that a live module keeps are not sent.

    Raises:
        OptionError: `endpoint` is no URL, or the initializer needs values that a live module holds.
        EndpointError: While the tensors are read: the server cannot be reached, refuses, or sends something else.

    """
    url, alone, body = _request(prediction, endpoint, tokenizer)
    content = json.dumps(body, separators=(",", ":")).encode()
    download = _Download(url, content, plan_files(alone, _ONE_FILE), alone.rules)
    return replace(alone, resolved=replace(alone.resolved, download=download.slots))


def remote_digests(
    prediction: Prediction, endpoint: str, *, tokenizer: str | None = None
) -> Callable[[], tuple[int, str]]:
    """Return what requests the number of all tensors and their sha256 from a server, which makes them.

    Raises:
        OptionError: As for `remote`.
        EndpointError: When it is called: the server cannot be reached, refuses, or makes something else.

    """
    url, _, body = _request(prediction, endpoint, tokenizer)

    def digests() -> tuple[int, str]:
        content = json.dumps({**body, "as": "recipe"}, separators=(",", ":")).encode()
        try:
            recipe = recipe_from_data(_json_of(_small_answer(url, content)))
        except RecipeError as error:
            raise EndpointError(f"{url} sent no recipe of this version: {error.message}") from error
        wanted = (prediction.architecture.manifest.elements, prediction.seed, dict(prediction.resolved.describe()))
        if (recipe.elements, recipe.seed, _named_here(recipe.initializer, wanted[2])) != wanted:
            raise EndpointError(
                f"{url} makes other weights than were requested. Both sides need the same version of paramgen; here it "
                f"is {version('paramgen')}."
            )
        return recipe.tensors, recipe.sha256

    return digests


def _named_here(described: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a server's initializer, with this side's name of the tokenizer, which it never learns."""
    return {
        **described,
        **({"tokenizer": here["tokenizer"]} if "tokenizer" in here and "tokenizer" in described else {}),
    }


def _small_answer(url: str, content: bytes) -> bytes:
    """Return the answer to one request, once it is whole; wait for a busy server."""
    failures, most = 0, CONNECTIONS
    while True:
        try:
            with _client() as client, client.stream("POST", url, content=content) as answer:
                _refuse_failure(answer, url)
                received = b""
                for chunk in answer.iter_bytes():
                    received += chunk
                    if len(received) > MAX_RECIPE_BYTES:
                        raise EndpointError(f"{url} sends more than {MAX_RECIPE_BYTES:,} bytes as a recipe.")
                return received
        except _Busy as busy:
            wait, reason, most = busy.seconds, busy.reason, ATTEMPTS
        except httpx2.TransportError as error:
            wait, reason = 0.0, one_line(error) or type(error).__name__
        failures += 1
        if failures >= most:
            raise EndpointError(f"{url} cannot be used: {reason}. Try again, or leave --endpoint out to compute here")
        time.sleep(min(LONGEST_WAIT, max(wait, 0.5 * 2**failures)))


def _json_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"it is no JSON: {one_line(error)}") from error


def _request(prediction: Prediction, endpoint: str, tokenizer: str | None) -> tuple[str, Prediction, dict[str, Any]]:
    """Return the URL, the prediction that the graph alone gives, and the body of the request for it."""
    url = _checked_url(endpoint)
    bare = replace(prediction.architecture, module=None, example=None)
    dtype = None if prediction.dtype is None else str(prediction.dtype).removeprefix("torch.")
    requested = initializer_of(prediction.init)
    alone = prediction_of(
        bare,
        prediction.graph,
        requested if tokenizer is None else requested.with_tokenizer(tokenizer),
        init=prediction.init,
        seed=prediction.seed,
        dtype=dtype,
        requested=prediction.requested,
    )
    _refuse_values(alone)
    body: dict[str, Any] = {
        "graph": json.loads(_graph_without_config(prediction.architecture, prediction.graph)),
        "init": prediction.init,
    }
    body |= {"seed": prediction.seed, "dtype": dtype}
    if (letters := alone.initializer.letters()) is not None:
        body["spelling"] = letters.to_text()
    return url, alone, body


def _refuse_values(prediction: Prediction) -> None:
    """Raise OptionError where the initializer would need a value that only the live module holds."""
    used = prediction.initializer.builds_on(prediction.architecture, prediction.graph)
    for slot in prediction.architecture.manifest.filled:
        if slot.name in used and slot.program is not None and slot.program.kept:
            raise OptionError(
                f"{prediction.init!r} makes {slot.name!r} of what the module holds there, at least in part, and values "
                "are not sent to a server. Leave endpoint out, or give the architecture as a name or a file.py:factory"
            )


@final
class _Download:
    """One download of the weights file, over as many connections as it takes."""

    def __init__(self, url: str, body: bytes, plan: Plan, rules: Mapping[str, str]) -> None:
        self.url = url
        self._body = body
        self._rules = rules
        self._plan = plan
        (self._head,), (self._size,) = plan.heads.values(), plan.sizes.values()
        self._etag = ""

    def slots(self, architecture: Architecture, graph: Graph) -> NamedTensors:
        """Yield every slot in the file's order; a tied one is compared with the slot whose tensor it shares.

        Values that a live module keeps are copied from the module.
        """
        manifest = architecture.manifest
        shared: dict[str, str] = {}
        for name, tensor, digest in self._tensors():
            holder = manifest[name].tied_to or name
            if holder not in shared:
                shared[holder] = digest
                program = manifest[holder].program
                own = program is not None and self._rules[holder] == KEPT
                yield holder, program.value.to("cpu", copy=True) if own and program is not None else tensor
            elif shared[holder] != digest:
                raise EndpointError(f"{self.url} sent two different tensors for {holder!r} and {name!r}.")

    def _tensors(self) -> Iterator[tuple[str, Tensor, str]]:
        """Yield each tensor of the file with its digest, then compare the digest of the whole file."""
        whole = sha256()
        with _client() as client:
            reader = _ByteReader(self._chunks(client))
            head = reader.take(len(self._head))
            if head != self._head:
                raise EndpointError(
                    f"{self.url} sent the file of another network. Both sides need the same version of paramgen; here "
                    f"it is {version('paramgen')}."
                )
            whole.update(head)
            for place in sorted(self._plan.places.values(), key=lambda place: place.offset):
                content = reader.take(place.entry.nbytes)
                whole.update(content)
                yield place.entry.name, _tensor(content, place.entry.dtype, place.entry.shape), _sha256(content)
            self._compare(client, whole.digest())

    def _chunks(self, client: httpx2.Client) -> Iterator[bytes]:
        """Yield the file's bytes; resume after a broken connection, and wait for a busy server.

        A server that was never reached is given up soon: its address may be wrong.
        """
        position, failures = 0, 0
        while position < self._size:
            wait = min(LONGEST_WAIT, 0.5 * 2**failures)
            try:
                with self._answer(client, position) as answer:
                    for chunk in answer.iter_raw():
                        position, failures = position + len(chunk), 0
                        yield chunk
                if position < self._size:
                    raise httpx2.RemoteProtocolError("the answer ended early")
            except _Busy as busy:
                wait, reason = max(wait, min(LONGEST_WAIT, busy.seconds)), busy.reason
            except httpx2.TransportError as error:
                reason = one_line(error) or type(error).__name__
                if isinstance(error, httpx2.ConnectError) and not position and failures + 1 >= CONNECTIONS:
                    raise EndpointError(
                        f"{self.url} cannot be reached: {reason}. Check that the server runs there, or leave "
                        "--endpoint out to compute here"
                    ) from error
            else:
                continue
            failures += 1
            if failures >= ATTEMPTS:
                raise EndpointError(f"{self.url} gave up at byte {position:,} of {self._size:,}: {reason}. Try again.")
            time.sleep(wait)

    @contextmanager
    def _answer(self, client: httpx2.Client, position: int) -> Iterator[httpx2.Response]:
        """Request the missing bytes, and refuse an answer with anything else."""
        headers = {"Range": f"bytes={position}-", "If-Range": self._etag} if self._etag else {}
        with client.stream("POST", self.url, content=self._body, headers=headers) as answer:
            _refuse_failure(answer, self.url)
            etag = answer.headers.get("etag", "")
            wanted = 206 if self._etag else 200
            length = answer.headers.get("content-length")
            if answer.status_code != wanted or self._etag not in ("", etag) or length != str(self._size - position):
                raise EndpointError(
                    f"{self.url} answered {answer.status_code} with {length} bytes, where {wanted} with "
                    f"{self._size - position} was expected: it serves another file now, or is no server of paramgen's."
                )
            self._etag = etag
            yield answer

    def _compare(self, client: httpx2.Client, digest: bytes) -> None:
        """Request the last byte and the digest of the whole file, which the server knows by now."""
        headers = {"Range": "bytes=-1", "If-Range": self._etag, "Want-Repr-Digest": "sha-256=10"}
        try:
            with client.stream("POST", self.url, content=self._body, headers=headers) as answer:
                _refuse_failure(answer, self.url)
                stated = answer.headers.get("repr-digest")
        except (httpx2.TransportError, _Busy) as error:
            raise EndpointError(
                f"{self.url} does not state the file's digest: {one_line(error)}. Try again."
            ) from error
        if stated != f"sha-256=:{base64.b64encode(digest).decode()}:":
            raise EndpointError(f"{self.url} states another digest than that of the file which arrived. Try again.")


class _ByteReader:
    """Reads given numbers of bytes from a stream of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def take(self, count: int) -> bytearray:
        taken = bytearray(count)
        position = 0
        while position < count:
            if not self._left:
                self._left = memoryview(next(self._chunks))
            some = self._left[: count - position]
            taken[position : position + len(some)] = some
            position, self._left = position + len(some), self._left[len(some) :]
        return taken


class _Busy(Exception):
    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds, self.reason = seconds, reason


def _refuse_failure(answer: httpx2.Response, url: str) -> None:
    """Raise what a server says where it does not send the file."""
    if answer.status_code in (200, 206):
        return
    reason = f"{answer.status_code} {_detail(answer)}"
    if answer.status_code in _BUSY:
        after = answer.headers.get("retry-after", "")
        raise _Busy(float(after) if after.isdecimal() else 1.0, reason)
    if answer.status_code == 401:
        raise EndpointError(f"{url} needs a key that it knows. Set {KEY} to yours")
    raise EndpointError(f"{url} refuses: {reason}")


def _detail(answer: httpx2.Response) -> str:
    """Return the line that describes a refusal (RFC 9457), or nothing where there is none."""
    content = b""
    for chunk in answer.iter_bytes():
        content += chunk
        if len(content) > MAX_PROBLEM:
            return ""
    try:
        return one_line(json.loads(content)["detail"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def _client() -> httpx2.Client:
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    key = os.environ.get(KEY, "")
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return httpx2.Client(headers=headers, timeout=_TIMEOUT, follow_redirects=False)


def _checked_url(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname
    except ValueError as error:
        raise OptionError(f"{endpoint!r} is no URL. Type: --endpoint https://host") from error
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
        raise OptionError(f"{endpoint!r} is no endpoint. Allowed: https://host or http://host:port")
    if parts.scheme == "http" and os.environ.get(KEY) and host not in ("localhost", "127.0.0.1", "::1"):
        raise OptionError(f"{endpoint!r} would carry your key in the clear. Type https://, or unset {KEY}")
    return f"{endpoint.rstrip('/')}/v1/predict"


def _graph_without_config(architecture: Architecture, graph: Graph) -> str:
    """Return the graph's JSON without what only the folder needs: a config may hold paths of this machine."""
    layout = replace(architecture.layout, config={}, dtype_key=None)
    return graph_to_json(replace(architecture, spec="a network", layout=layout), graph)


def _tensor(content: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=torch.uint8).view(dtype).view(shape)


def _sha256(content: bytearray) -> str:
    return sha256(content).hexdigest()
