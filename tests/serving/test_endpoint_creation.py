"""An endpoint is created by one request of huggingface_hub, to a server that listens here."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from paramgen.cli import endpoint as command
from paramgen.errors import EndpointError, OptionError
from paramgen.serving.endpoint_creation import Wanted, create

TIME = "2026-01-01T00:00:00Z"
WANTED = Wanted(name="weights", repository="me/weights", namespace="me")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was posted; the first number in it, if any, is the status to answer with."""
    received: list[Any] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = received.pop() if received else 202
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append((self.path, self.headers["Authorization"], sent))
            state = {"state": "pending", "url": None, "createdAt": TIME, "updatedAt": TIME}
            body = {**sent, "status": state, "healthRoute": "/health"} if status == 202 else {"error": "no"}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.INFERENCE_ENDPOINTS_ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    yield received
    server.shutdown()
    thread.join()
    server.server_close()


def test_one_request_creates_it(api: list[Any]) -> None:
    made = create(WANTED)
    ((path, key, sent),) = api
    assert (path, key) == ("/endpoint/me", "Bearer hf_mine")
    assert sent["model"]["framework"] == "custom"
    assert sent["model"]["repository"] == "me/weights"
    assert sent["compute"]["scaling"] == {"maxReplica": 1, "minReplica": 0, "scaleToZeroTimeout": 15}
    assert sent["type"] == "authenticated"
    assert made == {"name": "weights", "namespace": "me", "status": "pending", "url": None}


def test_a_refusal_is_one_line_without_the_token(api: list[Any]) -> None:
    api.append(403)
    with pytest.raises(EndpointError, match="'weights' was not created") as refused:
        create(WANTED)
    assert "\n" not in str(refused.value)
    assert "hf_mine" not in str(refused.value)


def test_without_a_token_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(EndpointError, match="hf auth login"):
        create(WANTED)


def test_a_dry_run_prints_what_would_be_created(capsys: pytest.CaptureFixture[str]) -> None:
    command.create("weights", repository="me/w", instance_size="x4", min_replicas=1, dry_run=True, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["instance_size"] == "x4"
    assert printed["scale_to_zero_timeout"] is None  # it never sleeps


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Weights"},
        {"name": "w" * 33},
        {"repository": "weights"},
        {"type": "protected"},
        {"min_replica": 2},
        {"max_replica": 0},
    ],
)
def test_what_cannot_be_created_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Wanted(**{"name": "weights", "repository": "me/weights", **wrong})
