"""Pushing for somebody, with the token that he sends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hub.connected import environment_of
from tests.support.hub.server import served

Graphs = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def running(serve: Any) -> Any:
    return serve()


@pytest.mark.slow
def test_a_folder_is_pushed_with_the_callers_token(
    running: Any, graphs: Graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, logged: list[str]
) -> None:
    with served(tmp_path / "hub", xet=False) as hub:
        for name, value in environment_of(hub, tmp_path).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_of_the_operator")
        body = {"graph": graphs(), "init": "he", "as": "folder", "push": "me/start"}
        pushed = running.predict(body, **{"X-Hub-Token": "hf_me"})
        assert pushed.status_code == 200, pushed.text
        assert (pushed.json()["repo"], pushed.json()["private"]) == ("me/start", True)
        assert "model.safetensors" in pushed.json()["files"]
        refused = running.predict(body, **{"X-Hub-Token": "hf_nobody"})
        assert refused.status_code == 422 and "hf_nobody" not in refused.text and str(tmp_path) not in refused.text
    assert "hf_me" not in "".join([*capfd.readouterr(), *logged])


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        ({}, {}, 401),
        ({}, {"X-Hub-Token": "a b"}, 401),
        ({"push": "start"}, {"X-Hub-Token": "hf_me"}, 422),
        ({"push": "--public/x"}, {"X-Hub-Token": "hf_me"}, 422),
        ({"push": "a/../b"}, {"X-Hub-Token": "hf_me"}, 422),
        ({"as": "weights"}, {"X-Hub-Token": "hf_me"}, 422),
    ],
)
def test_what_cannot_be_pushed(
    change: dict[str, str], headers: dict[str, str], status: int, running: Any, graphs: Graphs
) -> None:
    body = {"graph": graphs(), "init": "he", "as": "folder", "push": "me/start", **change}
    assert running.predict(body, **headers).status_code == status


def test_what_a_caller_wrote_is_not_loaded(running: Any, graphs: Graphs) -> None:
    graph = graphs()
    graph["layout"] |= {"source": "transformers", "config": {"model_type": "vit", "num_hidden_layers": 10**6}}
    body = {"graph": graph, "init": "he", "as": "folder", "push": "me/start"}
    answer = running.predict(body, **{"X-Hub-Token": "hf_me"})
    assert (answer.status_code, "Name the network" in answer.json()["detail"]) == (422, True)
