"""A server on this machine that answers as the Hub does, for repositories of a few files."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef" * 2 + "01234567"


@dataclass
class Hub:
    """Repositories by name, each of files by path; every one has the branch `main`, the tag `v1` and one commit."""

    repositories: Mapping[str, Mapping[str, bytes]]
    url: str = ""
    asked: list[str] = field(default_factory=list)  # method and path of each request
    cut: bool = False  # whether the connection breaks in the middle of a file

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        parts = urlsplit(unquote(path)).path
        match = re.fullmatch(r"/(api/models/)?([^/]+/[^/]+)/(resolve|tree)/([^/]+)/?(.*)", parts)
        if match is None or match[2] not in self.repositories:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        files = self.repositories[match[2]]
        if match[4] not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if match[3] == "tree":
            listed = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
            return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
        if match[5] not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        data = files[match[5]]
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{sha256(data).hexdigest()}"'}, data


@contextmanager
def served(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories on this machine."""
    hub = Hub(repositories)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, body = hub.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if hub.cut else body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
