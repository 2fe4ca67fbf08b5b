"""What the page is made of, and what it asks the server for."""

import json
import re
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import paramgen
from paramgen.drawing import draw_html
from paramgen.errors import GraphError
from paramgen.graphs.graph_json import graph_from_json
from serve import statistics

Graphs = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def server(serve: Callable[..., Any]) -> Any:
    return serve()


def lines(server: Any, **requested: Any) -> list[dict[str, Any]]:
    answer = server.client.post("/v1/statistics", json=requested)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_page_and_all_its_files_are_served(server: Any) -> None:
    page = server.client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    named = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text))
    named |= {f"/static/{name}" for name in ("charts.js", "names.js")}
    for name in named:
        found = server.client.get(name)
        assert found.status_code == 200
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "octet-stream" not in found.headers["content-type"]
    assert server.client.get("/static/page.py").status_code == 404
    assert server.client.get("/static/..%2Fpage.py").status_code == 404


def test_no_script_or_style_stands_in_the_page(server: Any) -> None:
    page = server.client.get("/").text
    assert not re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|https?://", page)
    policy = server.client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "unsafe" not in policy


def test_the_policy_names_what_a_picture_runs(server: Any, graphs: Graphs) -> None:
    drawn = draw_html(graph_from_json(json.dumps(graphs()))[1], title="a")
    policy = server.client.get("/").headers["content-security-policy"]
    inside = re.findall(r"<(style|script)>(.*?)</\1>", drawn, re.DOTALL)
    assert [kind for kind, _ in inside] == ["style", "style", "script"]
    for _, text in inside:
        assert b64encode(sha256(text.encode()).digest()).decode() in policy


def test_lines_say_what_the_tensors_are(server: Any, graphs: Graphs, tmp_path: Path) -> None:
    graph = graphs(width=32)
    head, *rest, last = lines(server, graph=graph, init="orthogonal", seed=3)
    assert last == {"before_training": {"reason": "A graph is no network that can be run."}}
    file = tmp_path / "g.json"
    file.write_text(json.dumps(graph), encoding="utf-8")
    prediction = paramgen.predict(str(file), init="orthogonal", seed=3)
    tensors = dict(prediction)
    assert [one["name"] for one in head["tensors"]] == [slot.name for slot in prediction.architecture.manifest.filled]
    assert head["parameters"] == prediction.architecture.manifest.parameters
    assert head["query"] is None  # a graph has no link
    assert sorted(one["index"] for one in rest) == list(range(len(tensors)))
    for one in rest:
        tensor = tensors[head["tensors"][one["index"]]["name"]].double()
        assert one["mean"] == pytest.approx(float(tensor.mean()), rel=1e-3, abs=1e-6)
        assert one["std"] == pytest.approx(float(tensor.std(correction=0)), rel=1e-3, abs=1e-6)
        assert one["bands"] == sorted(one["bands"])
        assert sum(one["histogram"]) in (0, tensor.numel())
    curves = [one["spectrum"] for one in rest if "spectrum" in one]
    assert len(curves) == 5  # the stem's and those of four blocks
    assert all(value == pytest.approx(1, abs=1e-3) for curve in curves for value in curve)  # that is what it is for


GPT2 = {"n_layer": 1, "n_embd": 192, "n_head": 3, "n_positions": 32, "vocab_size": 256}


def test_what_small_networks_do_before_training_is_the_last_line(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = {"arch": "transformers:GPT2LMHeadModel", "set": GPT2}
    found = lines(server, **requested, init="library")[-1]["before_training"]
    assert (found["source"], found["examples"]) == ("random tokens", 8)
    figures = {one["label"]: one for one in found["figures"]}
    assert figures["variance, first to last layer"]["light"] in ("good", "watch", "bad")
    assert figures["gamma: between / within variance"]["value"] < 2 and isinstance(found["advice"], list)
    assert found["layers"]["transformer.h.0.attn.c_attn"].keys() == {"square", "gradient"}
    uneven = lines(server, **requested, init="library|scale:100?layers=hidden")[-1]["before_training"]
    assert any("grows" in sentence for sentence in uneven["advice"])
    monkeypatch.setattr("serve.before_training.MAX_ELEMENTS", 1000)
    refused = lines(server, **requested, init="library", seed=1)[-1]["before_training"]
    assert "networks of up to 1,000 are run here" in refused["reason"]
    monkeypatch.setattr("serve.before_training.MAX_ELEMENTS", 10**7)
    monkeypatch.setattr("serve.before_training.MAX_ACTIVATIONS", 10)
    assert "up to 10 are allowed" in lines(server, **requested, seed=2)[-1]["before_training"]["reason"]


def test_who_chose_is_said_as_it_was(server: Any, graphs: Graphs) -> None:
    """Whoever chose a hypernet by name is not told that auto did."""
    requested = {"arch": "transformers:GPT2LMHeadModel", "set": GPT2}
    by_name, by_auto = (lines(server, **requested, init=init)[0] for init in ("hypernet", "auto"))
    assert by_name["explanation"].startswith("hypernet chose hypernet:text: ")
    assert by_auto["explanation"].startswith("auto chose hypernet:text: ") and by_auto["next_step"] == ""
    assert lines(server, **requested, init="hypernet:text")[0]["explanation"] == ""
    left = lines(server, arch="timm:resnet18", init="auto", set={"num_classes": 10})[0]
    assert left["explanation"].startswith("auto chose library: ")
    assert "; to measure it on your data: " in left["next_step"]
    code = server.client.get("/static/app.js").text
    assert "auto chose" not in code and "head.explanation" in code and "head.next_step" in code


def test_shares_of_a_tensor_are_said(server: Any) -> None:
    head = lines(server, arch="transformers:GPT2LMHeadModel", set=GPT2, init="hypernet")[0]
    table = next(one for one in head["tensors"] if one["name"] == "transformer.wte.weight")
    assert table["rule"] == "hypernet in part"
    assert table["filled_elements"] == {"hypernet": 256 * 160, "library": 256 * 32}
    assert sum(head["by_rule"].values()) == head["parameters"]
    whole = lines(server, arch="transformers:GPT2LMHeadModel", set=GPT2, init="he")[0]
    assert not any("filled_elements" in one for one in whole["tensors"])


@pytest.mark.slow
def test_a_named_network_has_a_link_and_a_command(server: Any) -> None:
    head = lines(server, arch="timm:resnet10t", set={"num_classes": 7}, init="he", dtype="bfloat16")[0]
    assert head["query"] == "arch=timm%3Aresnet10t&init=he&seed=0&dtype=bfloat16&set=num_classes%3D7"
    assert server.client.head(f"/v1/weights?{head['query']}").headers["content-length"] == str(head["bytes"])
    command = "paramgen predict --arch timm:resnet10t --set num_classes=7 --init he --seed 0 --dtype bfloat16"
    assert head["command"] == f"{command} --out weights"
    assert head["loading"][1] == "model = timm.create_model('local-dir:weights', pretrained=True)"
    posted = {"arch": "timm:resnet10t", "set": {"num_classes": 7}, "init": "he", "dtype": "bfloat16", "as": "folder"}
    assert server.client.get(f"/v1/folder?{head['query']}").content == server.predict(posted).content


def test_large_tensors_are_sampled_from_all_places() -> None:
    tensor = torch.arange(1 << 20, dtype=torch.float32)
    found = statistics._numbers(tensor)
    assert found["least"] == 0
    assert found["most"] == float(f"{(1 << 20) - 1:.5g}")
    assert found["mean"] == pytest.approx(1 << 19, rel=0.01)
    assert statistics._numbers(torch.tensor([float("nan"), 1.0]))["mean"] == 1
    assert statistics._numbers(torch.zeros(0)) == {}


def test_the_frame_gets_the_picture(server: Any, graphs: Graphs) -> None:
    answer = server.client.post("/v1/drawing", json={"graph": graphs()})
    assert "<svg" in answer.text
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts"


def test_what_cannot_be_predicted_is_said_in_a_line(server: Any) -> None:
    for path in ("/v1/statistics", "/v1/drawing"):
        answer = server.client.post(path, json={"arch": "vit_b17"})
        assert answer.status_code == 422
        assert "vit_b16" in answer.json()["detail"]
        assert server.client.post(path, content="{}", headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_failure_on_the_way_is_the_last_line(server: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(matrix: torch.Tensor) -> torch.Tensor:
        raise GraphError("It broke.")

    monkeypatch.setattr(statistics, "spectrum", fail)
    head, *_, last = lines(server, graph=graphs(depth=2), init="he")
    assert "tensors" in head
    assert last == {"error": "It broke."}
    monkeypatch.undo()
    assert "error" not in lines(server, graph=graphs(depth=2), init="he")[-1]
