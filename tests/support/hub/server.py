"""A Hub on this machine: what huggingface_hub asks for when it pushes and pulls, from a folder on disk.

`python -m tests.support.hub.server FOLDER` serves it and prints its address, for `HF_ENDPOINT`. Its tokens are those of
`store.ACCOUNTS`.
"""

import json
import re
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.hub import answers
from tests.support.hub.answers import Answer, Asked
from tests.support.hub.faults import HALF, LOST, REFUSED, Fault, Plan
from tests.support.hub.store import Store

GIVES = ("cdn", "resolve")  # routes of which half of the answer can be sent
REPOSITORY = r"(?P<repo>[^/]+/[^/]+)"
KIND = r"/api/(?P<kind>model|dataset|space)s"
ROUTES: tuple[tuple[str, str, str, Callable[[Asked], Answer]], ...] = (
    ("whoami", "GET", r"/api/whoami-v2", answers.whoami),
    ("create", "POST", r"/api/repos/create", answers.create),
    ("validate", "POST", r"/api/validate-yaml", answers.validate),
    ("preupload", "POST", rf"{KIND}/{REPOSITORY}/preupload/(?P<revision>[^/]+)", answers.preupload),
    ("commit", "POST", rf"{KIND}/{REPOSITORY}/commit/(?P<revision>[^/]+)", answers.commit),
    ("branch", "POST", rf"{KIND}/{REPOSITORY}/branch/(?P<branch>[^/]+)", answers.branch),
    ("refs", "GET", rf"{KIND}/{REPOSITORY}/refs", answers.refs),
    ("tree", "GET", rf"{KIND}/{REPOSITORY}/tree/(?P<revision>[^/]+)(/(?P<path>.*))?", answers.tree),
    ("xet", "GET", rf"{KIND}/{REPOSITORY}/xet-(?P<way>read|write)-token/(?P<revision>[^/]+)", answers.xet),
    ("info", "GET", rf"{KIND}/{REPOSITORY}(/revision/(?P<revision>[^/]+))?", answers.info),
    ("batch", "POST", rf"/{REPOSITORY}\.git/info/lfs/objects/batch", answers.batch),
    ("put", "PUT", rf"/lfs/{REPOSITORY}/(?P<digest>[0-9a-f]{{64}})", answers.put),
    ("verify", "POST", rf"/lfs/{REPOSITORY}/verify", answers.verify),
    ("cdn", "GET", rf"/cdn/{REPOSITORY}/(?P<digest>[0-9a-f]{{64}})", answers.cdn),
    ("resolve", "GET", rf"/{REPOSITORY}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", answers.resolve),
)


class Hub:
    """The server's address, its repositories, what it was asked, and the faults that it is to make."""

    def __init__(self, root: Path, *, xet: bool = True) -> None:
        self.store = Store(root)
        self.xet = xet  # whether files can be had through hf_xet's protocol
        self.faults = Plan()
        self.asked: list[str] = []  # route of each request, HEAD requests in capitals
        self.received = 0  # bytes of large files
        self.authorized: list[str] = []  # the tokens that were sent to places that need none
        self.url = ""

    def fail(self, on: str, does: Any, *, times: int = 1, skip: int = 0) -> None:
        """Have requests of a route go wrong."""
        self.faults.add(Fault(on, does, times, skip))

    def route(self, method: str, path: str) -> tuple[str, Callable[[Asked], Answer], dict[str, str]] | None:
        """Return the name of the route, who answers there, and the parts of the path."""
        for name, wanted, pattern, answer in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and wanted == ("GET" if method == "HEAD" else method):
                return name, answer, {key: unquote(value) for key, value in match.groupdict().items() if value}
        return None


class Server(ThreadingHTTPServer):
    """One that knows its Hub, and does not wait for connections that clients keep."""

    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """Reads requests, makes faults, sends answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        hub = self.server.hub
        found = hub.route(self.command, urlsplit(self.path).path)
        if found is None:
            self._send(answers.refusal(404, "", f"{self.command} {self.path} is not known here"))
            return
        name, answer, parts = found
        hub.asked.append(name.upper() if self.command == "HEAD" else name)
        fault = hub.faults.next(name)
        length = int(self.headers.get("Content-Length") or 0)
        if fault == REFUSED or (fault == HALF and name not in GIVES):
            self.rfile.read(length // 2 if fault == HALF else 0)
            self._break()
            return
        asked = Asked(hub, self.command, parts, parse_qs(urlsplit(self.path).query), self.headers, b"")
        asked.body = self._body(length, name)
        answered = self._answer(asked, answer, fault)
        if fault == LOST:
            self._break()
        else:
            self._send(answered, half=fault == HALF)

    def _answer(self, asked: Asked, answer: Callable[[Asked], Answer], fault: Any) -> Answer:
        if callable(fault):
            fault(self.server.hub)
        if isinstance(fault, float):
            time.sleep(fault)
        if isinstance(fault, int):
            return answers.refusal(fault, "", answers.SAID.get(fault, "This is a fault made on purpose"))
        return answer(asked)

    do_HEAD = do_POST = do_PUT = do_GET

    def _body(self, length: int, name: str) -> bytes:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = b"".join(self._chunks()) if chunked else self.rfile.read(length)
        self.server.hub.received += len(body) if name == "put" else 0
        return body

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, answered: Answer, *, half: bool = False) -> None:
        self.send_response(answered.status)
        for key, value in answered.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answered.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answered.body[: len(answered.body) // 2] if half else answered.body)
        if half and self.command != "HEAD":
            self.wfile.flush()
            time.sleep(0.05)  # what was sent has to be read before the connection is seen to break
            self._break()

    def _break(self) -> None:
        """Reset the connection, as a network does that fails."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, *_: object) -> None:
        pass

    def finish(self) -> None:
        with suppress(OSError):  # it was broken on purpose
            super().finish()

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # the client, or a fault, closed the connection
            super().handle()


@contextmanager
def served(root: Path, *, xet: bool = True) -> Iterator[Hub]:
    """Serve the repositories of a folder from a thread."""
    hub = Hub(root, xet=xet)
    with Server(hub) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Serve a folder until the input ends or the process does."""
    with served(Path(sys.argv[1]), xet="--no-xet" not in sys.argv) as hub:
        print(json.dumps({"url": hub.url}), flush=True)  # noqa: T201
        sys.stdin.read()


if __name__ == "__main__":
    main()
