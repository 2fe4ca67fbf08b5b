"""`as=recipe`: the service makes all tensors and sends what they are drawn from, with their digest."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load as load_safetensors

import paramgen
import paramgen.serving.client
from paramgen.api.types import Prediction
from paramgen.errors import EndpointError, OptionError
from paramgen.output.stream import records_of

EXAMPLE = torch.zeros(2, 3, 16, 16)
VIT = {"arch": "timm:test_vit", "init": "he|scale:0.5", "seed": "3", "as": "recipe"}


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_it_sends_makes_the_folder_and_the_weights_that_it_would_have_sent(running: Any, tmp_path: Path) -> None:
    answer = running.client.get("/v1/weights", params=VIT)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="recipe.json"'
    assert len(answer.content) == int(answer.headers["content-length"]) < 10_000
    (tmp_path / "r.json").write_bytes(answer.content)
    paramgen.restore(tmp_path / "r.json", tmp_path / "there" / "w")
    paramgen.write("timm:test_vit", tmp_path / "here" / "w", init="he|scale:0.5", seed=3)
    assert contents(tmp_path / "there" / "w") == contents(tmp_path / "here" / "w")
    sent = load_safetensors(running.client.get("/v1/weights", params={**VIT, "as": "weights"}).content)
    made = load_safetensors((tmp_path / "there" / "w" / "model.safetensors").read_bytes())
    assert sent.keys() == made.keys() and all(sent[name].equal(made[name]) for name in made)


def test_caches_know_it_apart_from_the_weights(running: Any) -> None:
    answer = running.client.get("/v1/weights", params=VIT)
    again = running.client.get("/v1/weights", params=VIT, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content
    weights = running.client.head("/v1/weights", params={**VIT, "as": "weights"})
    assert weights.headers["etag"] != answer.headers["etag"]
    part = running.client.get("/v1/weights", params=VIT, headers={"Range": "bytes=0-9"})
    assert part.status_code == 206 and part.content == answer.content[:10]


def test_a_graph_has_one_too(running: Any, graphs: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    answer = running.predict({"graph": graphs(width=8), "init": "orthogonal", "as": "recipe"})
    (tmp_path / "r.json").write_bytes(answer.content)
    paramgen.restore(tmp_path / "r.json", tmp_path / "w", verify=False)
    assert "stem.weight" in json.loads((tmp_path / "w" / "paramgen.json").read_text(encoding="utf-8"))["tensors"]
    assert running.predict({"arch": "timm:test_vit", "as": "recipe", "push": "me/it"}).status_code == 422


@pytest.mark.parametrize(("change", "said"), [({"as": "zip"}, "form|as"), ({"init": "prepared"}, "is not served")])
def test_what_cannot_be_a_recipe_is_refused(change: dict[str, str], said: str, running: Any) -> None:
    answer = running.client.get("/v1/weights", params={**VIT, **change})
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert any(word in answer.json()["detail"] for word in said.split("|"))


@pytest.mark.parametrize("init", ["he", "auto"])
def test_the_client_takes_the_digest_and_makes_no_tensor(
    init: str, running: Any, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"init": init, "seed": 5, "example_input": EXAMPLE}
    here = paramgen.recipe(f"{network}:build", tmp_path / "here.json", **options)
    made: list[str] = []

    def noted(prediction: Prediction, advance: Any) -> dict[str, Any]:
        made.append(prediction.architecture.spec)
        return records_of(prediction, advance)

    monkeypatch.setattr("paramgen.serving.recipe_writing.records_of", noted)
    there = paramgen.recipe(f"{network}:build", tmp_path / "there.json", endpoint=running.url, **options)
    assert made == ["a network"]  # by the server, which is not told its name
    assert there.recipe == here.recipe
    assert (tmp_path / "there.json").read_bytes() == (tmp_path / "here.json").read_bytes()


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (200, b"no", "sent no recipe of this version: it is no JSON"),
        (200, b"{}", "sent no recipe"),
        (200, b'{"x": "' + b"x" * 30_000_000, "sends more than"),
        (422, b'{"detail": "as: Input should be weights or folder"}', "refuses: 422 as: Input should be"),
        (503, b"", "cannot be used: 503"),
        (200, None, "makes other weights than were requested"),
    ],
)
def test_a_server_that_sends_something_else_is_not_believed(
    status: int, content: bytes | None, said: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paramgen.serving.client, "LONGEST_WAIT", 0.0)
    options: dict[str, Any] = {"init": "he", "example_input": EXAMPLE}
    if content is None:
        paramgen.recipe(f"{network}:build", tmp_path / "other.json", seed=1, **options)
        content = (tmp_path / "other.json").read_bytes()
    sent = content

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - its name is given
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body["as"] == "recipe"
            self.send_response(status)
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            with pytest.raises((EndpointError, OptionError), match=said):
                url = f"http://127.0.0.1:{server.server_address[1]}"
                paramgen.recipe(f"{network}:build", tmp_path / "r.json", endpoint=url, **options)
        finally:
            server.shutdown()
    assert not (tmp_path / "r.json").exists()
