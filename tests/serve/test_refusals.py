"""What is not answered: each with its status, in one line, as a problem, and the server goes on."""

import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest

from paramgen.errors import OptionError
from serve.settings import Settings

Graphs = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve(max_body=200_000, body_seconds=2, max_nodes=50, max_elements=10**6, max_bytes=2 * 10**6)


def refusal(answer: httpx2.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status and found["request_id"] == answer.headers["x-request-id"]
    assert "\n" not in found["detail"] and "Traceback" not in found["detail"]
    return str(found["detail"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"arch": NaN}',
        b'{"seed": -Infinity}',
        b"[" * 100_000,
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ]
    + [b'{"arch": "\\ud800"}', b'{"seed": ' + b"9" * 5000 + b"}"],
)
def test_what_is_no_json(body: bytes, running: Any) -> None:
    answer = running.client.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    refusal(answer, 400)


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"arch": ""},
        {"arch": "vit_b16", "graph": {}},
        {"graph": {}},
        {"graph": {"paramgen_graph": 1}},
        {"arch": "vit_b16", "seed": -1},
        {"arch": "vit_b16", "seed": 2**63},
        {"arch": "vit_b16", "seed": "1"},
        {"arch": "vit_b16", "seed": True},
        {"arch": "vit_b16", "dtype": "int8"},
        {"arch": "vit_b16", "as": "pickle"},
        {"arch": "vit_b16", "extra": 1},
        {"arch": "x" * 2000},
        {"graph": {}, "set": {"a": 1}},
        {"arch": "timm:test_vit", "init": "he", "spelling": "AAA!"},
        {"arch": "timm:test_vit", "init": "he", "spelling": ""},
    ],
)
def test_what_is_no_request(body: Any, running: Any) -> None:
    refusal(running.predict(body), 422)


@pytest.mark.parametrize(
    "arch",
    [
        "own.py:build",
        "/etc/passwd",
        "../config.json",
        "transformers:../x",
        "timm:hf-hub:org/name",
        "module:own.py:build",
    ]
    + ["transformers:own.json", "http://localhost/x", "vit\x00", "resnet１８", "vit_b16?_name_or_path=x", "os:system"]
    + [
        "timm:resnet18?pretrained=true",
        "timm:resnet18?checkpoint_path=x",
        "transformers:vit?hidden_act=a/b",
        "\r\nx: y",
    ],
)
def test_names_that_reach_beyond_the_libraries(arch: str, running: Any) -> None:
    assert "not served" in (reason := refusal(running.predict({"arch": arch}), 422)) or "Allowed" in reason


@pytest.mark.parametrize(
    "init",
    ["hypernet:org/name", "hypernet:/etc", "hypernet:../vision", "weight_selection:/etc", "lsuv:/etc", "lsuv?data=/etc"]
    + ["lsuv?batch=4096", "hypernet?path=/etc", "made_up", "he\n", "hypernet:vision:x"],
)
def test_initializers_that_read_what_does_not_ship(init: str, running: Any, graphs: Graphs) -> None:
    assert "not served" in refusal(running.predict({"graph": graphs(), "init": init}), 422)


def test_a_folder_beside_the_server_is_not_an_architecture(
    running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vit").mkdir()
    (tmp_path / "vit" / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.chdir(tmp_path)
    assert "not served" in refusal(running.predict({"arch": "transformers:vit"}), 422)


def test_more_than_the_limits(running: Any, graphs: Graphs) -> None:
    wide, deep = graphs(width=1100), graphs(depth=60)
    assert "at most 1,000,000 are served" in refusal(running.predict({"graph": wide}), 422)
    assert "at most 50 are served" in refusal(running.predict({"graph": deep}), 422)
    big = {"graph": graphs(width=540, depth=2)}
    assert "at most 2,000,000 are served" in refusal(running.predict(big), 422)
    assert running.predict({**big, "dtype": "float16"}).status_code == 200


def test_a_body_of_very_many_values(running: Any) -> None:
    many: dict[str, Any] = {"graph": {"x": [[] for _ in range(40_000)]}}
    refusal(running.predict(many), 422)  # no graph, but it was read
    content = json.dumps(many).encode()
    from serve.problems import Problem
    from serve.reading import json_of

    assert json_of(content, 64, 100_000) == many
    with pytest.raises(Problem, match="more than 50,000 commas, objects and lists") as refused:
        json_of(content, 64, 50_000)
    assert refused.value.status == 413


def test_values_that_a_library_does_not_check(running: Any) -> None:
    reason = refusal(running.predict({"arch": "timm:resnet18", "set": {"features_only": True}}), 422)
    assert reason.startswith("Cannot build 'timm:resnet18'")
    reason = refusal(running.predict({"arch": "transformers:bert", "set": {"num_labels": 999_999}}), 422)
    assert "a number up to 100,000" in reason


def test_time_that_is_up_while_building_is_no_mistake_of_the_callers(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from paramgen.architectures.timm import TimmSource

    def endless(*_: Any) -> None:
        try:
            while True:
                torch.zeros(1).add(1)
        except Exception as error:  # as sources do with whatever a library raises
            raise OptionError("Cannot build it. Check the values given by --set") from error

    monkeypatch.setattr(TimmSource, "build", endless)
    answer = serve(seconds=0.3).predict({"arch": "timm:resnet18"})
    assert "0.3 seconds" in refusal(answer, 503)


def test_a_refused_body_is_not_read_to_its_end(serve: Any) -> None:
    keyed = serve(keys=(sha256(b"right").hexdigest(),))
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for path in (b"/v1/predict", b"/", b"/v2"):  # with a key, open, not there
        with socket.create_connection(("127.0.0.1", keyed.port), timeout=20) as connection:
            connection.sendall(head.replace(b"/v1/predict", path) + b"1\r\n \r\n" * 40_000)
            received = b""
            with suppress(ConnectionError):
                while piece := connection.recv(1 << 16):
                    received += piece
                    connection.sendall(b"1\r\n \r\n" * 1000)  # and it goes on
            assert received.startswith(b"HTTP/1.1 4") and b"connection: close" in received


def test_small_chunks_let_others_in_between(running: Any) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    content = json.dumps({"arch": "timm:nothing"}).encode() + b" " * 60_000
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in content)
    with socket.create_connection(("127.0.0.1", running.port), timeout=20) as connection:
        connection.sendall(head + chunks)
        assert running.client.get("/health").status_code == 200
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 422 ")  # the body was read whole


def test_bodies_that_are_too_large_or_late(running: Any) -> None:
    answer = running.client.post("/v1/predict", content=b" " * 200_001, headers={"Content-Type": "application/json"})
    refusal(answer, 413)
    chunks = (b" " * 50_000 for _ in range(10))
    answer = running.client.post("/v1/predict", content=chunks, headers={"Content-Type": "application/json"})
    refusal(answer, 413)
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    )
    assert running.raw(head + b"{").startswith(b"HTTP/1.1 408 ")
    refusal(running.client.post("/v1/predict", content=b"{}", headers={"Content-Type": "text/plain"}), 415)


def test_a_refusal_arrives_although_the_body_is_still_being_sent(running: Any) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=120) as connection:
        connection.sendall(head + b"Content-Length: 1000000\r\n\r\n" + b" " * 1000)
        while not select.select([connection], [], [], 0)[0]:  # the refusal is there before the body
            time.sleep(0.01)
        for _ in range(9):
            connection.sendall(b" " * 111_000)
            time.sleep(0.01)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413 ")


def test_a_head_that_does_not_end_is_given_up(running: Any) -> None:
    assert running.raw(b"GET /health HTTP/1.1\r\nHost: local") == b""
    assert running.raw(b"") == b""
    assert running.client.get("/health").status_code == 200


def test_paths_methods_and_queries_that_are_not_there(running: Any) -> None:
    client: httpx2.Client = running.client
    refusal(client.get("/v2/predict"), 404)
    refusal(client.get("/v1/../etc/passwd"), 404)
    refusal(client.get("/v1/predict"), 405)
    refusal(client.delete("/v1/weights?arch=vit_b16"), 405)
    for query in ("", "arch=a&arch=b", "arch=vit_b16&seed=x", "arch=vit_b16&set=a", "arch=vit_b16&out=x"):
        refusal(client.get(f"/v1/weights?{query}"), 422)
    refusal(client.get("/v1/architectures?source=module"), 422)


def test_request_ids_are_kept_if_they_are_ids(running: Any) -> None:
    for given, kept in (("abc-1.2", True), ("a b", False), ("x" * 65, False), ("é".encode(), False)):
        found = running.client.get("/health", headers={"X-Request-Id": given}).headers["x-request-id"]
        assert (found == given) is kept


def test_an_unexpected_error_says_its_id_only(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr("serve.service.network_of", broken)
    answer = running.client.get("/v1/weights?arch=vit_b16&seed=4", headers={"X-Request-Id": "the-id"})
    assert "the-id" in refusal(answer, 500)
    assert "secret" not in answer.text


def test_keys(serve: Any, graphs: Graphs) -> None:
    keyed = serve(keys=(sha256(b"right").hexdigest(), sha256(b"other").hexdigest()), requests_per_minute=4)
    body = {"graph": graphs(), "init": "he"}
    for given in ({}, {"Authorization": "right"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
        answer = keyed.predict(body, **given)
        refusal(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert keyed.client.get("/metrics").status_code == 401
    assert keyed.client.get("/health").status_code == 200
    answers = [keyed.predict(body, Authorization="Bearer right") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429]
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[0].headers["cache-control"].startswith("private")
    assert keyed.predict(body, Authorization="Bearer other").status_code == 200


def test_without_keys_only_this_machine_is_answered(running: Any) -> None:
    from serve.access import Access

    refusal(running.client.get("/v1/initializers", headers={"Host": "rebound.example"}), 403)
    access = Access(Settings())
    for server in (("127.0.0.1", 8000), ("::1", 8000), ("::ffff:127.0.0.1", 8000), ("/run/paramgen.sock", None)):
        assert access.admit({"server": server}, {"host": "localhost:8000"}) == "local"
    for other in (("0.0.0.0", 80), ("10.0.0.1", 80), ("example.org", 80), None):
        with pytest.raises(Exception, match="has no keys"):
            access.admit({"server": other}, {"host": "localhost"})


def test_keys_in_the_settings_are_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARAMGEN_SERVE_KEYS", json.dumps([sha256(b"x").hexdigest()]))
    assert Settings().keys == (sha256(b"x").hexdigest(),)
    monkeypatch.setenv("PARAMGEN_SERVE_KEYS", '["my-key"]')
    with pytest.raises(ValueError, match="keys"):
        Settings()
