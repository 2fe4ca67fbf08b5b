"""The file that is answered: its bytes, its parts, its name in a cache."""

import base64
import io
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import paramgen
import paramgen.initializers.library
import serve.service
from paramgen.initializers.hypernet import HypernetInitializer
from paramgen.serving.allowlist import INITIALIZERS
from serve.orders import network_of, order_of
from serve.rendering import weights
from serve.schemas import PredictRequest
from serve.settings import Settings

Graphs = Callable[..., dict[str, Any]]


OTHERS = tuple("arithmetic auto diffusion hypernet impulse lsuv maxout mimetic natural poincare rezero s4d".split())
"""What runs the network, chooses, makes one network alone, or fills nothing of the one here."""


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve()


def written(folder: Path, network: Path, **options: Any) -> bytes:
    example = torch.zeros(2, 3, 16, 16)
    paramgen.write(f"{network}:build", folder, example_input=example, verify=False, **options)
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("init", "dtype"),
    [
        ("he", "bfloat16"),
        ("hypernet:first_light", None),
        ("he|lowrank:2|scale:0.5", None),
        *((name, None) for name in INITIALIZERS if name not in OTHERS),
    ],
)
def test_the_file_is_the_command_lines(
    init: str, dtype: str | None, running: Any, graphs: Graphs, network: Path, tmp_path: Path
) -> None:
    answer = running.predict({"graph": graphs(), "init": init, "seed": 7, "dtype": dtype})
    assert answer.status_code == 200
    assert answer.content == written(tmp_path / "start", network, init=init, seed=7, dtype=dtype)
    assert answer.headers["content-length"] == str(len(answer.content))


def test_modifiers_are_part_of_a_request_and_of_its_etag(running: Any, graphs: Graphs) -> None:
    graph = graphs()
    listed = running.predict({"graph": graph, "init": "he", "then": ["lowrank:2", "scale:0.5"]})
    chain, plain = (running.predict({"graph": graph, "init": init}) for init in ("he|lowrank:2|scale:0.5", "he"))
    assert listed.status_code == 200 and listed.content == chain.content != plain.content
    assert listed.headers["etag"] == chain.headers["etag"] != plain.headers["etag"]
    for then in (["prune"], ["lowrank", "blocks"], ["scale|shift"], "scale", ["scale"] * 9):
        refused = running.predict({"graph": graph, "init": "he", "then": then})
        assert refused.status_code == 422 and "\n" not in refused.json()["detail"]


@pytest.mark.parametrize("init", ["hypernet", "hypernet:vision", "mimetic"])
def test_a_start_that_fills_nothing_is_refused(init: str, running: Any, graphs: Graphs) -> None:
    answer = running.predict({"graph": graphs(), "init": init})
    assert answer.status_code == 422 and "fills nothing" in answer.json()["detail"]


@pytest.mark.parametrize("init", ["auto", "hypernet"])
def test_the_etag_is_of_the_hypernet_that_was_chosen(init: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed: set[str] = set()
    described = HypernetInitializer.describe

    def describe(self: HypernetInitializer) -> dict[str, Any]:
        found = dict(described(self))
        return found | ({"sha256": "another"} if found["hypernet"] in changed else {})

    def etag(change: str) -> str:
        changed.clear()
        changed.add(f"paramgen/{change}")
        return order_of(network, PredictRequest(arch=arch, init=init), Settings()).etag

    monkeypatch.setattr(HypernetInitializer, "describe", describe)
    arch = "transformers:GPT2LMHeadModel"
    sizes = {"n_layer": 1, "n_embd": 48, "n_head": 3, "n_positions": 32, "vocab_size": 256}
    network = network_of(arch, sizes, None, Settings())
    assert etag("vision") == etag("first_light") != etag("text")


@pytest.mark.slow
def test_a_named_network_by_post_and_by_get_is_the_same_file(running: Any, tmp_path: Path) -> None:
    name = "torchvision:squeezenet1_1"
    paramgen.write(name, tmp_path / "start", overrides={"num_classes": 3}, init="he", verify=False)
    posted = running.predict({"arch": name, "set": {"num_classes": 3}, "init": "he"})
    got = running.client.get(f"/v1/weights?arch={name}&set=num_classes%3D3&init=he")
    assert posted.content == got.content == (tmp_path / "start" / "model.safetensors").read_bytes()
    assert posted.headers["etag"] == got.headers["etag"]
    assert load_file(tmp_path / "start" / "model.safetensors")["classifier.1.bias"].shape == (3,)


@pytest.mark.slow
def test_words_make_the_file_of_the_command_line(running: Any, tmp_path: Path) -> None:
    requested: dict[str, Any] = {"prompt": "pencil sketch", "seed": 3}
    paramgen.write(None, tmp_path / "start", verify=False, **requested)
    wanted = (tmp_path / "start" / "diffusion_pytorch_model.safetensors").read_bytes()
    posted = running.predict(requested)
    got = running.client.get("/v1/weights?prompt=pencil%20sketch&seed=3")
    assert posted.content == got.content == wanted
    assert posted.headers["etag"] == got.headers["etag"]
    assert 'filename="diffusion_pytorch_model.safetensors"' in posted.headers["content-disposition"]


@pytest.mark.parametrize(
    ("requested", "said"),
    [
        ({"prompt": "sepia", "init": "he"}, "'he' takes no prompt"),
        ({"prompt": " "}, "has no words"),
        ({"prompt": "x" * 1001}, "at most 1000"),
        ({"prompt": "sepia", "init": "diffusion?steps=51"}, "at most 50 are served"),
        ({"prompt": "sepia", "init": "diffusion?best_of=2&pairs=/etc"}, "'pairs' of 'diffusion' is not served"),
        ({"prompt": "sepia", "init": "diffusion:somebody/else"}, "is not served"),
        ({"prompt": "sepia", "arch": "torchvision:squeezenet1_1"}, "is not the network that"),
        ({"init": "diffusion"}, "one of the two"),
    ],
)
def test_words_are_refused_in_one_line(requested: dict[str, Any], said: str, running: Any) -> None:
    answer = running.predict(requested)
    assert answer.status_code == 422 and said in answer.json()["detail"], answer.text


def test_head_tells_what_get_would_and_draws_nothing(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requested = "/v1/weights?arch=torchvision:squeezenet1_1&init=library&seed=11"
    drawn = drawn_slots(monkeypatch)
    head = running.client.head(requested)
    assert (head.status_code, head.content, drawn) == (200, b"", [])
    whole = running.client.get(requested)
    same = ("etag", "content-length", "content-type", "accept-ranges", "cache-control")
    assert [head.headers[name] for name in same] == [whole.headers[name] for name in same]


def test_who_has_the_file_is_told_so(running: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"graph": graphs(), "init": "library", "seed": 21}
    etag = running.predict(body, Range="bytes=0-0").headers["etag"]
    drawn = drawn_slots(monkeypatch)
    for known in (etag, f'"x", {etag}', f"W/{etag}", "*"):
        answer = running.predict(body, **{"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert running.predict(body, **{"If-None-Match": '"x"'}).status_code == 200
    assert drawn


def test_the_etag_is_another_for_everything_that_the_bytes_depend_on(running: Any, graphs: Graphs) -> None:
    plain = {"graph": graphs(), "init": "he", "seed": 0}
    other: list[dict[str, Any]] = [{"seed": 1}, {"init": "xavier"}, {"init": "he?mode=fan_out"}, {"dtype": "float16"}]
    requested = [plain, *({**plain, **change} for change in other), {**plain, "graph": graphs(depth=5)}]
    tags = [running.predict(body, Range="bytes=0-0").headers["etag"] for body in requested]
    assert len(set(tags)) == len(tags)
    assert running.predict(plain).headers["etag"] == tags[0]


@settings(max_examples=15)
@given(first=st.integers(0, 9_000), length=st.integers(1, 9_000), seed=st.integers(1000, 1001))
def test_any_range_is_that_part_of_the_file(
    running: Any, graphs: Graphs, whole: Callable[[int], bytes], first: int, length: int, seed: int
) -> None:
    content = whole(seed)
    answer = running.predict(
        {"graph": graphs_once(graphs), "init": "orthogonal", "seed": seed}, Range=f"bytes={first}-{first + length - 1}"
    )
    if first >= len(content):
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(content)}")
        return
    stop = min(first + length, len(content))
    assert (answer.status_code, answer.content) == (206, content[first:stop])
    assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/{len(content)}"


KEPT: dict[str, Any] = {}


def graphs_once(graphs: Graphs) -> dict[str, Any]:
    return KEPT.setdefault("graph", graphs())


@pytest.fixture(scope="module")
def whole(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    files: dict[int, bytes] = {}

    def of(seed: int) -> bytes:
        if seed not in files:
            folder = tmp_path_factory.mktemp("whole") / "start"
            files[seed] = written(folder, network, init="orthogonal", seed=seed)
        return files[seed]

    return of


def test_the_last_bytes_and_the_rest(running: Any, graphs: Graphs, whole: Callable[[int], bytes]) -> None:
    body = {"graph": graphs(), "init": "orthogonal", "seed": 3}
    content = whole(3)
    for requested, part in (("bytes=-5", content[-5:]), ("bytes=100-", content[100:]), ("bytes=-999999", content)):
        answer = running.predict(body, Range=requested)
        assert (answer.status_code, answer.content) == (206, part)
    for requested in ("bytes=5-2", "bytes=-", "bytes=0-1,4-5", "lines=0-1", "bytes=a-b", "bytes=0-" + "9" * 40):
        assert running.predict(body, Range=requested).status_code == 200
    assert running.predict(body, Range="bytes=-0").status_code == 416
    etag = running.predict(body).headers["etag"]
    assert running.predict(body, Range="bytes=0-3", **{"If-Range": etag}).status_code == 206
    assert running.predict(body, Range="bytes=0-3", **{"If-Range": '"x"'}).content == content


def test_a_range_draws_only_what_it_touches(running: Any, graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"graph": graphs(depth=9), "init": "library", "seed": 99}
    drawn = drawn_slots(monkeypatch)
    head = running.predict(body, Range="bytes=0-7")
    assert head.status_code == 206 and drawn == []
    running.predict(body, Range="bytes=-1")
    assert len(drawn) == 1


def test_a_slot_is_drawn_once_for_all_its_ranges(
    running: Any, graphs: Graphs, whole: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"graph": graphs(), "init": "orthogonal", "seed": 3}
    size = running.predict(body, Range="bytes=0-7").headers["content-range"].rpartition("/")[2]
    made: list[Any] = []

    def rendered(*given: Any) -> Any:
        made.append(given)
        return weights(*given)

    monkeypatch.setattr(serve.service, "weights", rendered)
    fresh = {**body, "seed": 4}
    requested = [int(size) - 1 - back for back in (100, 200, 400, 800)]  # of one matrix
    answers = [running.predict(fresh, Range=f"bytes={first}-{first}") for first in requested]
    assert [answer.content for answer in answers] == [whole(4)[first : first + 1] for first in requested]
    assert len(made) == 1


def test_a_range_of_what_is_made_together_is_made_once(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def rendered(*given: Any) -> Any:
        made.append(given)
        return weights(*given)

    monkeypatch.setattr(serve.service, "weights", rendered)
    body = {"arch": "timm:test_vit", "init": "lsuv"}
    parts = [running.predict(body, Range=f"bytes={first}-{first + 9}").content for first in (9_000, 100, 50_000)]
    content = running.predict(body).content
    assert parts == [content[first : first + 10] for first in (9_000, 100, 50_000)]
    assert len(made) == 1


def test_a_head_computes_nothing(running: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = drawn_slots(monkeypatch)
    query = "/v1/weights?arch=timm:test_vit&init=library&seed=77"
    head = running.client.head(query, headers={"Want-Repr-Digest": "sha-256=10"})
    assert head.status_code == 200 and drawn == []
    content = running.client.get(query).content
    stated = f"sha-256=:{base64.b64encode(sha256(content).digest()).decode()}:"
    requested = {"Want-Repr-Digest": "sha-256=10"}
    assert running.client.get(query, headers={**requested, "Range": "bytes=0-7"}).headers["repr-digest"] == stated
    assert running.client.head(query, headers=requested).headers["repr-digest"] == stated


def test_the_digest_is_told_to_who_wants_it(running: Any, graphs: Graphs) -> None:
    body = {"graph": graphs(), "init": "he", "seed": 31}
    first = running.predict(body, Range="bytes=-1", **{"Want-Repr-Digest": "sha-256=10"})
    content = running.predict(body).content
    stated = f"sha-256=:{base64.b64encode(sha256(content).digest()).decode()}:"
    assert (first.content, first.headers["repr-digest"]) == (content[-1:], stated)


@pytest.mark.slow
def test_the_folder_is_the_command_lines(running: Any, tmp_path: Path) -> None:
    name = "torchvision:squeezenet1_1"
    answer = running.predict({"arch": name, "set": {"num_classes": 2}, "init": "xavier", "as": "folder"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    paramgen.write(name, tmp_path / "weights", overrides={"num_classes": 2}, init="xavier", verify=False)
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        found = {entry: archive.read(entry) for entry in archive.namelist()}
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "weights").iterdir()}
    etag = answer.headers["etag"]
    again = running.predict(
        {"arch": name, "set": {"num_classes": 2}, "init": "xavier", "as": "folder"}, **{"If-None-Match": etag}
    )
    assert again.status_code == 304


@pytest.mark.slow
def test_lists_and_graphs(running: Any) -> None:
    client: httpx2.Client = running.client
    assert client.get("/v1/architectures").json()["vit_b16"].startswith("transformers:vit")
    assert "torchvision:resnet18" in client.get("/v1/architectures?source=torchvision").json()
    assert sorted(client.get("/v1/initializers").json()) == sorted(INITIALIZERS)
    assert "vision" in client.get("/v1/hypernets").json()
    graph = client.post("/v1/graph", json={"arch": "torchvision:squeezenet1_1"}).json()
    by_graph = running.predict({"graph": graph, "init": "he"})
    assert by_graph.content == client.get("/v1/weights?arch=torchvision:squeezenet1_1&init=he").content
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").status_code == 200
    assert "paramgen_sent_bytes_total" in client.get("/metrics").text


def drawn_slots(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the slots whose default weights are drawn."""
    drawn: list[str] = []
    program = paramgen.initializers.library.default_weights

    def noted(slot: Any, seed: int) -> Any:
        drawn.append(slot.name)
        return program(slot, seed)

    monkeypatch.setattr(paramgen.initializers.library, "default_weights", noted)
    return drawn
