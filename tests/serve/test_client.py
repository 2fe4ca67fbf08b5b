"""`--endpoint`: the folder is the same as made here, over broken connections, and nothing is believed."""

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from torch import nn

import paramgen
import paramgen.serving.client
from paramgen.errors import EndpointError, OptionError

EXAMPLE = torch.zeros(2, 3, 16, 16)
Change = Callable[[Any, Any], None]


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paramgen.serving.client, "LONGEST_WAIT", 0.0)


class Between(ThreadingHTTPServer):
    """Stands between client and server, and changes what is said. Every request is noted."""

    def __init__(self, running: Any) -> None:
        self.running = running
        self.seen: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.change: Callable[[int, Any, "Answer"], None] = lambda number, request, answer: None
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer:
    """What the server said, to be changed; of `content`, only the first `sent` bytes are passed on."""

    def __init__(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.status, self.headers, self.content = status, headers, content
        self.sent = len(content)


class Handler(BaseHTTPRequestHandler):
    """Passes a request on."""

    server: Between

    def do_POST(self) -> None:  # noqa: N802 - its name is given
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.server.bodies.append(body)
        kept = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        found = self.server.running.client.post(self.path, content=body, headers=kept)
        dropped = ("date", "server", "connection")
        headers = {name: value for name, value in found.headers.items() if name not in dropped}
        answer = Answer(found.status_code, headers, found.content)
        self.server.change(len(self.server.seen), self, answer)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content[: answer.sent])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def between(running: Any) -> Iterator[Between]:
    with Between(running) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def write(network: Path, folder: Path, **options: Any) -> dict[str, bytes]:
    paramgen.write(f"{network}:build", folder, example_input=EXAMPLE, verify=False, **options)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("init", ["orthogonal", "auto", "hypernet:first_light", "library"])
def test_the_folder_is_the_same(init: str, running: Any, network: Path, tmp_path: Path) -> None:
    here = write(network, tmp_path / "start", init=init, seed=5, dtype="bfloat16")
    shutil.rmtree(tmp_path / "start")
    there = write(network, tmp_path / "start", init=init, seed=5, dtype="bfloat16", endpoint=running.url)
    assert there == here


def test_shards_are_cut_here(running: Any, network: Path, tmp_path: Path) -> None:
    written = write(network, tmp_path / "start", init="he", max_shard="2KB", endpoint=running.url)
    assert len([name for name in written if name.endswith(".safetensors")]) > 1
    assert paramgen.check(tmp_path / "start").tensors


def test_only_the_graph_is_sent(between: Between, network: Path, tmp_path: Path) -> None:
    write(network, tmp_path / "start", init="he", endpoint=between.url)
    assert json.loads(between.bodies[0]).keys() == {"graph", "init", "seed", "dtype"}
    for body in between.bodies:
        assert b"network.py" not in body and str(tmp_path).encode() not in body and b"signature" not in body


@pytest.mark.parametrize(("init", "sent"), [("hypernet:text", True), ("hypernet", True), ("library", False)])
def test_a_tokenizer_counts_and_its_file_stays_here(init: str, sent: bool, between: Between, tmp_path: Path) -> None:
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(["the thin thing and the end\n"] * 9, vocab_size=270, show_progress=False)
    (tmp_path / "words").mkdir()
    tokenizer.save(str(tmp_path / "words" / "tokenizer.json"))
    spec = "transformers:gpt2?n_embd=32&n_layer=1&n_head=2&n_positions=16"
    options: dict[str, Any] = {"tokenizer": str(tmp_path / "words" / "tokenizer.json"), "init": init, "verify": False}
    found = []
    for endpoint in (None, between.url):
        paramgen.write(spec, tmp_path / "start", endpoint=endpoint, **options)
        found.append({path.name: path.read_bytes() for path in (tmp_path / "start").iterdir()})
        shutil.rmtree(tmp_path / "start")
    here, there = found
    assert there == here and json.loads(there["config.json"])["vocab_size"] == tokenizer.get_vocab_size()
    for body in between.bodies:
        assert ("spelling" in json.loads(body)) == sent
        assert b"tokenizer.json" not in body and b'"the"' not in body


def test_a_server_that_cannot_read_the_spelling_is_quoted(between: Between, network: Path, tmp_path: Path) -> None:
    def older(number: int, _: Any, answer: Answer) -> None:
        answer.status, answer.content = 422, b'{"detail": "spelling: Extra inputs are not permitted."}'
        answer.headers, answer.sent = {"content-length": str(len(answer.content))}, len(answer.content)

    between.change = older
    with pytest.raises(EndpointError, match="refuses: 422 spelling: Extra inputs are not permitted"):
        write(network, tmp_path / "start", init="he", endpoint=between.url)


@pytest.mark.parametrize("init", ["he", "library", "orthogonal"])
def test_what_a_live_module_keeps_stays_here(init: str, between: Between) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 14 * 14, 5))
    module[1].running_mean = torch.randn(4)
    here = paramgen.predict(module, init=init, example_input=EXAMPLE)
    there = paramgen.predict(module, init=init, example_input=EXAMPLE, endpoint=between.url)
    assert there.rules == here.rules and "kept" in there.rules.values()
    there_state = there.state_dict()
    assert [name for name, _ in there.only(["3.weight"])] == ["3.weight"]
    assert all(tensor.equal(there_state[name]) for name, tensor in here.state_dict().items())


class Packed(nn.Module):
    """Attention with queries, keys and values in one weight, whose heads are together wider than what they read."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.qkv, self.project = nn.Linear(16, 3 * inner), nn.Linear(inner, 16)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(states).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        return self.project(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("inner", "refused"), [(16, False), (32, True)])
def test_what_is_made_of_a_live_modules_values_is_not_made_elsewhere(
    inner: int, refused: bool, between: Between
) -> None:
    init = "mimetic"
    module, example = Packed(inner), torch.zeros(2, 5, 16)
    here = paramgen.predict(module, init=init, example_input=example)
    assert here.rules["qkv.weight"] == init
    if refused:
        with pytest.raises(OptionError, match="makes 'qkv.weight' of what the module holds there"):
            paramgen.predict(module, init=init, example_input=example, endpoint=between.url)
        return
    there = paramgen.predict(module, init=init, example_input=example, endpoint=between.url).state_dict()
    assert all(tensor.equal(there[name]) for name, tensor in here.state_dict().items())


def test_a_broken_download_goes_on_where_it_broke(between: Between, network: Path, tmp_path: Path) -> None:
    def cut(number: int, _: Any, answer: Answer) -> None:
        if number <= 3:
            answer.sent = answer.sent // 2

    between.change = cut
    here = write(network, tmp_path / "here", init="he")
    there = write(network, tmp_path / "there", init="he", endpoint=between.url)
    assert there["model.safetensors"] == here["model.safetensors"]
    size = len(here["model.safetensors"])
    positions = [0, size // 2, size // 2 + (size - size // 2) // 2]
    ranges = [seen.get("range") for seen in between.seen]
    assert ranges[:3] == [None, *(f"bytes={position}-" for position in positions[1:])]
    assert ranges[-1] == "bytes=-1"
    assert all(seen["if-range"].startswith('"') for seen in between.seen[1:])


def test_a_busy_server_is_waited_for(between: Between, network: Path, tmp_path: Path) -> None:
    def busy(number: int, _: Any, answer: Answer) -> None:
        if number <= 2:
            answer.status, answer.content, answer.sent = 429, b"{}", 2
            answer.headers = {"content-length": "2", "retry-after": "0"}

    between.change = busy
    assert write(network, tmp_path / "start", init="he", endpoint=between.url)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("bits", "another digest"),
        ("no digest", "another digest"),
        ("head", "of another network"),
        ("short", "where 200 with"),
        ("redirect", "refuses: 307"),
        ("never whole", "gave up at byte"),
        ("other file", "serves another file now"),
        ("401", "needs a key"),
        ("page", "refuses: 404"),
    ],
)
def test_what_is_not_as_it_should_be_leaves_nothing(
    what: str, said: str, between: Between, network: Path, tmp_path: Path
) -> None:
    def spoil(number: int, _: Any, answer: Answer) -> None:
        if what == "bits" and number == 1:
            answer.content = answer.content[:-1] + bytes([answer.content[-1] ^ 1])
        elif what == "no digest":
            answer.headers.pop("repr-digest", None)
        elif what == "head" and number == 1:
            answer.content = answer.content.replace(b"stem.weight", b"stem.weighs")
        elif what == "short":
            answer.content, answer.headers["content-length"] = answer.content[:100], "100"
        elif what == "redirect":
            answer.status, answer.headers["location"] = 307, "http://127.0.0.1:1/v1/predict"
        elif what == "never whole":
            answer.sent = 0
        elif what == "other file":
            answer.sent //= 2
            answer.headers["etag"] = f'"{number}"'
        elif what in ("401", "page"):
            answer.status, answer.content = int(what.replace("page", "404")), b"<html>" * 20_000
            answer.headers = {"content-length": str(len(answer.content))}
            answer.sent = len(answer.content)

    between.change = spoil
    with pytest.raises(EndpointError, match=said) as refusal:
        write(network, tmp_path / "start", init="he", endpoint=between.url)
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_the_key_goes_to_the_server_and_nowhere_else(
    serve: Any, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, logged: list[str]
) -> None:
    keyed = serve(keys=(sha256(b"my-key").hexdigest(),))
    with pytest.raises(EndpointError, match="Set PARAMGEN_KEY"):
        write(network, tmp_path / "start", init="he", endpoint=keyed.url)
    monkeypatch.setenv("PARAMGEN_KEY", "my-key")
    written = write(network, tmp_path / "start", init="he", endpoint=keyed.url)
    assert not any(b"my-key" in content for content in written.values())
    assert logged and "my-key" not in "".join([*capfd.readouterr(), *logged])
    with pytest.raises(OptionError, match="in the clear"):
        write(network, tmp_path / "other", init="he", endpoint="http://example.org")


@pytest.mark.parametrize(
    "endpoint", ["", "localhost", "ftp://x", "http://", "http://a@b", "http://x?y", "http://[", "-"]
)
def test_what_is_no_endpoint(endpoint: str, network: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="endpoint='https|Allowed: https"):
        write(network, tmp_path / "start", init="he", endpoint=endpoint)


def test_nobody_answers(network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(paramgen.serving.client, "LONGEST_WAIT", 60.0)
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(EndpointError, match="cannot be reached: .*leave endpoint out") as refusal:
        write(network, tmp_path / "start", init="he", endpoint="http://127.0.0.1:1")
    assert "\n" not in str(refusal.value) and sum(waits) < 5 and list(tmp_path.iterdir()) == []
