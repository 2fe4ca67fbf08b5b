"""Real servers on loopback, in a thread of the test's process, and the graph of a small network."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

import paramgen
from paramgen.graphs.graph_json import graph_to_json
from serve import monitoring
from serve.app import create_app
from serve.connections import connection_class
from serve.service import Service
from serve.settings import Settings

NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.tied = nn.Linear(width, width)
        self.tied.weight = self.blocks[0].weight

    def forward(self, images):
        states = self.norm(self.stem(images)).relu().mean((2, 3))
        for block in self.blocks:
            states = block(states).relu()
        return self.tied(states)

def build(width=16, depth=4):
    return Network(width, depth)
"""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    url: str
    port: int
    service: Service
    client: httpx2.Client

    def predict(self, body: Any, **headers: str) -> httpx2.Response:
        """POST a body to /v1/predict."""
        return self.client.post("/v1/predict", json=body, headers=headers)

    def raw(self, sent: bytes, *, seconds: float = 120) -> bytes:
        """Send bytes as they are and return everything that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(sent)
            received = b""
            while piece := connection.recv(1 << 16):
                received += piece
            return received


Serve = Callable[..., Running]


@pytest.fixture(scope="session", autouse=True)
def logged() -> Iterator[list[str]]:
    """What the servers of this process tell their operator; on stderr it would stand between the tests' results."""
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitoring._Stderr, "emit", lambda handler, record: lines.append(handler.format(record)))
        yield lines


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Start a server with the settings given; all of a file's end with the file."""
    ends: list[Callable[[], None]] = []

    def start(**settings: Any) -> Running:
        chosen = Settings(**{"requests_per_minute": 0, **settings})
        app = create_app(chosen)
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=connection_class(chosen),
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        port = listening.getsockname()[1]
        client = httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False)

        def end() -> None:
            client.close()
            server.should_exit = True
            thread.join(120)
            listening.close()

        ends.append(end)
        running = Running(f"http://127.0.0.1:{port}", port, app.state.service, client)
        while not server.started:
            thread.join(0.01)
        return running

    yield start
    for end in ends:
        end()


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's file with a small network."""
    file = tmp_path_factory.mktemp("network") / "network.py"
    file.write_text(NETWORK, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def graphs(network: Path) -> Callable[..., dict[str, Any]]:
    """Return the graph of a small network, as a client sends it."""

    def make(**overrides: int) -> dict[str, Any]:
        import torch

        architecture, graph = paramgen.graph(
            f"{network}:build", overrides=overrides, example_input=torch.zeros(2, 3, 16, 16)
        )
        found: dict[str, Any] = json.loads(graph_to_json(architecture, graph))
        return found

    return make
