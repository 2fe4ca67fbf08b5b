"""A start that a server computes: it is sent the network's graph, and sends the weights file.

The file's head is known here before the first byte comes, so names, shapes and dtypes are compared, not believed; a
broken download goes on where it broke; in the end the server is asked for the file's digest (RFC 9530).
"""

import base64
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from typing import Any, ClassVar, Final, final
from urllib.parse import urlsplit

import httpx2
import torch
from torch import Tensor

from paramgen.architectures import Architecture
from paramgen.errors import EndpointError, OptionError, one_line
from paramgen.graphs.graph_json import graph_to_json
from paramgen.graphs.schema import Graph
from paramgen.initializers import Chosen, Initializer, NamedTensors, initializer_of
from paramgen.initializers.library import KEPT
from paramgen.output.write import plan_files
from paramgen.prediction import Prediction, settled
from paramgen.storage.plan import Plan

KEY: Final = "PARAMGEN_KEY"
ATTEMPTS: Final = 6  # in a row without a new byte
CONNECTIONS: Final = 3  # attempts to reach a server that has not sent a byte yet
LONGEST_WAIT: Final = 60.0
MAX_PROBLEM: Final = 65_536
_ONE_FILE: Final = 2**62
_BUSY: Final = (429, 502, 503, 504)
_TIMEOUT: Final = httpx2.Timeout(30.0, read=600.0)  # nothing comes while a large network waits for its turn


def remote(prediction: Prediction, endpoint: str, *, tokenizer: str | None = None) -> Prediction:
    """Return the same prediction, computed by the server at `endpoint`; its key, if it wants one, is in PARAMGEN_KEY.

    `auto` chooses for the graph alone, as that is what the server sees. Where the start reads the tokens of a
    tokenizer, the server is sent how they are spelled, and never the file.
    What a live module keeps stays here.
    """
    url = _checked_url(endpoint)
    bare = replace(prediction.architecture, module=None, example=None)
    dtype = None if prediction.dtype is None else str(prediction.dtype).removeprefix("torch.")
    named = initializer_of(prediction.init)
    alone = settled(
        bare,
        prediction.graph,
        named if tokenizer is None else named.reading(tokenizer),
        init=prediction.init,
        seed=prediction.seed,
        dtype=dtype,
        asked=prediction.asked,
    )
    _refuse_values(alone)
    body = {
        "graph": json.loads(_graph_without_config(prediction.architecture, prediction.graph)),
        "init": prediction.init,
    }
    body |= {"seed": prediction.seed, "dtype": dtype}
    if (letters := alone.initializer.letters()) is not None:
        body["spelling"] = letters.to_text()
    download = _Download(url, json.dumps(body, separators=(",", ":")).encode(), plan_files(alone, _ONE_FILE))
    initializer = alone.initializer
    if isinstance(initializer, Chosen):
        computed: Initializer = replace(initializer, initializer=Remote(local=initializer.initializer, file=download))
    else:
        computed = Remote(local=initializer, file=download)
    return replace(alone, initializer=computed)


def _refuse_values(prediction: Prediction) -> None:
    """Refuse to have a server fill a slot with something of the value that a live module holds there."""
    used = prediction.initializer.builds_on(prediction.architecture, prediction.graph)
    for slot in prediction.architecture.manifest.filled:
        if slot.name in used and slot.program is not None and slot.program.kept:
            raise OptionError(
                f"{prediction.init!r} makes {slot.name!r} of what the module holds there, at least in part, and values "
                "are not sent to a server. Leave endpoint out, or give the architecture as a name or a file.py:factory"
            )


@final
@dataclass(frozen=True, kw_only=True)
class Remote(Initializer):
    """What the server makes of `local`, which says here what fills which slot."""

    draws_here: ClassVar[bool] = False
    slot_by_slot: ClassVar[bool] = False  # the file comes whole

    local: Initializer
    file: "_Download"

    def rules(self, architecture: Architecture, graph: Graph) -> Mapping[str, str]:
        """The rules of the start that the server follows."""
        return self.local.rules(architecture, graph)

    def shares(self, architecture: Architecture, graph: Graph) -> Mapping[str, Mapping[str, int]]:
        """The shares of the start that the server follows."""
        return self.local.shares(architecture, graph)

    def tensors(self, architecture: Architecture, graph: Graph, *, seed: int) -> NamedTensors:
        """Yield the tensors in the file's order; a tied one is compared with the one it shares."""
        manifest, rules = architecture.manifest, self.rules(architecture, graph)
        shared: dict[str, str] = {}
        for name, tensor, digest in self.file.tensors():
            holder = manifest[name].tied_to or name
            if holder not in shared:
                shared[holder] = digest
                program = manifest[holder].program
                yield (
                    holder,
                    program.value.to("cpu", copy=True) if rules.get(holder) == KEPT and program is not None else tensor,
                )
            elif shared[holder] != digest:
                raise EndpointError(f"{self.file.url} sent two different tensors for {holder!r} and {name!r}.")

    def describe(self) -> Mapping[str, Any]:
        """What identifies the start that the server follows."""
        return self.local.describe()

    def remarks(self) -> Sequence[str]:
        """What is to be known of the start that the server follows."""
        return self.local.remarks()

    def assumptions(self, architecture: Architecture, graph: Graph) -> Sequence[str]:
        """What it takes for granted."""
        return self.local.assumptions(architecture, graph)

    def inherited(self) -> Mapping[str, Any]:
        """Whose weights it makes its own of."""
        return self.local.inherited()


@final
class _Download:
    """The weights file, from its first byte to its last, over as many connections as it takes."""

    def __init__(self, url: str, body: bytes, plan: Plan) -> None:
        self.url = url
        self._body = body
        self._plan = plan
        (self._head,), (self._size,) = plan.heads.values(), plan.sizes.values()
        self._etag = ""

    def tensors(self) -> Iterator[tuple[str, Tensor, str]]:
        """Yield each tensor of the file with its digest, and then compare the digest of the whole."""
        whole = sha256()
        with _client() as client:
            reader = _Reader(self._pieces(client))
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

    def _pieces(self, client: httpx2.Client) -> Iterator[bytes]:
        """Yield the file's bytes; take a broken connection up where it broke, and wait for a busy server.

        A server that was never reached is not waited for: its address may be wrong.
        """
        position, failures = 0, 0
        while position < self._size:
            wait = min(LONGEST_WAIT, 0.5 * 2**failures)
            try:
                with self._answer(client, position) as answer:
                    for piece in answer.iter_raw():
                        position, failures = position + len(piece), 0
                        yield piece
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
        """Ask for what is missing, and refuse what is something else."""
        headers = {"Range": f"bytes={position}-", "If-Range": self._etag} if self._etag else {}
        with client.stream("POST", self.url, content=self._body, headers=headers) as answer:
            _refuse_failure(answer, self.url)
            etag = answer.headers.get("etag", "")
            wanted = 206 if self._etag else 200
            length = answer.headers.get("content-length")
            if answer.status_code != wanted or self._etag not in ("", etag) or length != str(self._size - position):
                raise EndpointError(
                    f"{self.url} answered {answer.status_code} with {length} bytes, where {wanted} with "
                    f"{self._size - position} was due: it serves another file now, or is no server of paramgen's."
                )
            self._etag = etag
            yield answer

    def _compare(self, client: httpx2.Client, digest: bytes) -> None:
        """Ask for the last byte and the digest of the whole, which the server knows by now."""
        headers = {"Range": "bytes=-1", "If-Range": self._etag, "Want-Repr-Digest": "sha-256=10"}
        try:
            with client.stream("POST", self.url, content=self._body, headers=headers) as answer:
                _refuse_failure(answer, self.url)
                told = answer.headers.get("repr-digest")
        except (httpx2.TransportError, _Busy) as error:
            raise EndpointError(f"{self.url} does not tell the file's digest: {one_line(error)}. Try again.") from error
        if told != f"sha-256=:{base64.b64encode(digest).decode()}:":
            raise EndpointError(f"{self.url} tells another digest than that of the file which arrived. Try again.")


class _Reader:
    """Cuts a stream of pieces into what is asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = memoryview(b"")

    def take(self, count: int) -> bytearray:
        taken = bytearray(count)
        position = 0
        while position < count:
            if not self._left:
                self._left = memoryview(next(self._pieces))
            some = self._left[: count - position]
            taken[position : position + len(some)] = some
            position, self._left = position + len(some), self._left[len(some) :]
        return taken


class _Busy(Exception):
    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(reason)
        self.seconds, self.reason = seconds, reason


def _refuse_failure(answer: httpx2.Response, url: str) -> None:
    """Raise what a server says when it does not send the file."""
    if answer.status_code in (200, 206):
        return
    reason = f"{answer.status_code} {_detail(answer)}"
    if answer.status_code in _BUSY:
        after = answer.headers.get("retry-after", "")
        raise _Busy(float(after) if after.isdecimal() else 1.0, reason)
    if answer.status_code == 401:
        raise EndpointError(f"{url} wants a key that it knows. Set {KEY} to yours")
    raise EndpointError(f"{url} refuses: {reason}")


def _detail(answer: httpx2.Response) -> str:
    """Return the line that a problem carries, or nothing where it is something else."""
    content = b""
    for piece in answer.iter_bytes():
        content += piece
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
    """Write the graph without what only the folder needs: a config may hold paths of this machine."""
    layout = replace(architecture.layout, config={}, dtype_key=None)
    return graph_to_json(replace(architecture, spec="a network", layout=layout), graph)


def _tensor(content: bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    if not content:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=torch.uint8).view(dtype).view(shape)


def _sha256(content: bytearray) -> str:
    return sha256(content).hexdigest()
