"""The handler as Inference Endpoints use it: loaded by its path in a folder alone, asked with JSON, answering JSON."""

import base64
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

import paramgen
from paramgen.errors import ArchitectureError, OptionError, OutputError, ParamgenError
from paramgen.graphs.graph_json import graph_to_json
from paramgen.serving.endpoint_folder import export, requirements
from paramgen.serving.handler import EndpointHandler
from serve import handler as served
from tests.support.graphs import with_unwritten_slot
from tests.support.hub.connected import connected

# The toolkit puts the folder first on the path and executes handler.py; `inputs` come on stdin.
TOOLKIT = """
import importlib.util, json, sys
folder = sys.argv[1]
spec = importlib.util.spec_from_file_location("handler", f"{folder}/handler.py")
getattr(sys, "path").insert(0, folder)
module = importlib.util.module_from_spec(spec)
sys.modules["handler"] = module
spec.loader.exec_module(module)
handler = module.EndpointHandler(folder)
heavy = [name for name in ("transformers", "huggingface_hub", "diffusers", "timm", "httpx2") if name in sys.modules]
answers = []
for data in json.load(sys.stdin):
    try:
        answers.append(handler(data))
    except Exception as error:
        answers.append({"error": str(error), "kind": type(error).__name__})
import paramgen
print(json.dumps({"package": paramgen.__file__, "heavy": heavy, "answers": answers}))
"""
OLD = ("transformers==4.51.3", "huggingface_hub==0.30.2", "tokenizers==0.21.4")


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from torch import nn, zeros

    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 6 * 6, 10))
    architecture, traced = paramgen.graph(module, example_input=zeros(2, 3, 8, 8))
    found: dict[str, Any] = json.loads(graph_to_json(architecture, traced))
    return found


def requested(folder: Path, elsewhere: Path, requests: list[Any], **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", TOOLKIT, str(folder)],
        input=json.dumps(requests), cwd=elsewhere, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_what_predict_writes(answer: dict[str, Any], arch: str, folder: Path, **options: Any) -> bool:
    paramgen.write(arch, folder, verify=False, **options)
    data = base64.b64decode(answer["data"])
    assert load(data).keys() == set(paramgen.predict(arch, **options).rules)
    assert sha256(data).hexdigest() == answer["sha256"]
    assert answer["files"]["config.json"] == (folder / "config.json").read_text()
    return data == (folder / answer["file"]).read_bytes()


@pytest.mark.slow
def test_alone_in_a_folder_it_answers_the_file_of_predict(graph: dict[str, Any], tmp_path: Path) -> None:
    export(tmp_path / "endpoint")
    (tmp_path / "empty").mkdir()
    requests = [
        {"inputs": {"graph": graph}, "parameters": {"init": "orthogonal", "seed": 3, "dtype": "bfloat16"}},
        {"inputs": "timm:resnet10t?num_classes=7", "parameters": {"init": "he"}},
        {"inputs": {"arch": "my.py:build"}},
    ]
    found = requested(tmp_path / "endpoint", tmp_path / "empty", requests)
    assert found["package"] == str(tmp_path / "endpoint" / "paramgen" / "__init__.py")
    assert found["heavy"] == []
    (tmp_path / "g.json").write_text(json.dumps(graph), encoding="utf-8")
    given = {"init": "orthogonal", "seed": 3, "dtype": "bfloat16"}
    assert is_what_predict_writes(found["answers"][0], str(tmp_path / "g.json"), tmp_path / "a", **given)
    assert is_what_predict_writes(found["answers"][1], "timm:resnet10t?num_classes=7", tmp_path / "b", init="he")
    assert found["answers"][2]["kind"] == "OptionError"


@pytest.mark.slow
def test_it_answers_under_the_libraries_of_the_toolkit(graph: dict[str, Any], tmp_path: Path) -> None:
    old = tmp_path / "old"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-compile",
        "--target",
        str(old),
        *OLD,
    ]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("the older libraries cannot be installed: the package index cannot be reached")
    export(tmp_path / "endpoint")
    requests = [{"inputs": {"graph": graph}, "parameters": {"init": "orthogonal"}}, {"inputs": "vit_ti16"}]
    found = requested(tmp_path / "endpoint", tmp_path, requests, PYTHONPATH=str(old))
    weights, refused = found["answers"]
    (tmp_path / "g.json").write_text(json.dumps(graph), encoding="utf-8")
    assert is_what_predict_writes(weights, str(tmp_path / "g.json"), tmp_path / "a", init="orthogonal")
    assert refused["error"].startswith("'vit_ti16' needs transformers 5 or newer; here is 4.51.3. Send its graph")


def test_the_folder_is_whole_and_only_ours_is_replaced(tmp_path: Path) -> None:
    files = export(tmp_path / "endpoint")
    assert set(files) == {"handler.py", "requirements.txt", "README.md", "endpoint.json"}
    assert (tmp_path / "endpoint" / "paramgen" / "pretrained" / "vision" / "model.safetensors").is_file()
    assert not list((tmp_path / "endpoint").rglob("__pycache__"))
    assert any(line.startswith("torch>=") for line in requirements())
    assert not any(line.startswith(("transformers", "huggingface")) for line in requirements())
    export(tmp_path / "endpoint", overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "handler.py").touch()
    with pytest.raises(OutputError):
        export(tmp_path / "other", overwrite=True)


@pytest.mark.parametrize(
    "inputs",
    [
        None,
        {},
        [],
        {"arch": "resnet18", "graph": {}},
        {"arch": 3},
        {"arch": "evil.py:build"},
        {"arch": "timm:../../x.json"},
        {"arch": "transformers:/etc"},
        {"arch": "hf-hub:me/x"},
        {"arch": "timm:resnet18?pretrained=true"},
        {"arch": "nothing_we_know"},
        {"graph": {"nodes": []}},
        {"graph": "text"},
    ],
)
def test_what_is_no_network_of_ours_is_refused_in_a_line(inputs: Any) -> None:
    with pytest.raises(ParamgenError) as refused:
        EndpointHandler()({"inputs": inputs})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"init": "weight_selection:me/x"},
        {"init": "hypernet:me/x"},
        {"init": "hypernet?path=/etc"},
        {"init": "lsuv:photos"},
        {"init": "nothing"},
        {"init": 3},
        {"seed": -1},
        {"seed": True},
        {"dtype": "int8"},
        {"overrides": {}},
        {"push": "me/x"},
        {"push": "../x", "token": "hf_secret"},
        "text",
    ],
)
def test_parameters_out_of_bounds_are_refused(parameters: Any, graph: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as refused:
        EndpointHandler()({"inputs": {"graph": graph}, "parameters": parameters})
    assert "hf_secret" not in str(refused.value)


def test_a_request_is_nested_no_deeper_than_one_of_the_service(graph: dict[str, Any]) -> None:
    deep: list[Any] = []
    for _ in range(2000):  # of another parser than Python's
        deep = [deep]
    for inputs in ({**graph, "layout": deep}, {**graph, "nodes": deep}):
        with pytest.raises(OptionError, match="nested at most 64 deep"):
            EndpointHandler()({"inputs": {"graph": inputs}})


@pytest.mark.parametrize(
    "data", [[], None, "x", 5, {"inputs": "timm:resnet10t", "parameters": []}, {"inputs": [["x"]]}]
)
def test_what_is_no_request_is_refused_in_a_line(data: Any) -> None:
    with pytest.raises(OptionError) as refused:
        EndpointHandler()(data)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "parameters",
    [
        {"dtype": [1]},
        {"dtype": {}},
        {"seed": 10**5000},
        {"init": "he" * 1000},
        {"init": ["he"] * 10**5},
        {"push": "me/x", "token": "bad\r\nX: y"},
        {"push": ["me/x"], "token": "t"},
    ],
)
def test_parameters_of_other_types_are_refused_in_a_short_line(parameters: Any, graph: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as refused:
        EndpointHandler()({"inputs": {"graph": graph}, "parameters": parameters})
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


def test_names_are_limited_as_in_the_service() -> None:
    for arch in ("timm:resnet10t?num_classes=10000000", "transformers:bert?num_labels=999999", "timm:" + "x" * 1000):
        with pytest.raises(OptionError):
            EndpointHandler()({"inputs": arch})
    with pytest.raises(ArchitectureError, match="Cannot build 'timm:resnet18'.*Send its graph instead"):
        EndpointHandler()({"inputs": "timm:resnet18?features_only=true"})


def test_a_request_has_its_time(graph: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: Any, **__: Any) -> None:
        while True:
            pass

    monkeypatch.setattr("paramgen.serving.handler.SECONDS", 0.1)
    for name in ("graph_within", "write_prediction"):
        with monkeypatch.context() as patched:
            patched.setattr(f"paramgen.serving.handler.{name}", endless)
            if name == "write_prediction":
                patched.setattr("paramgen.serving.handler.SECONDS", 0.7)
            with pytest.raises(OptionError, match="It takes more than 0.[17] seconds"):
                EndpointHandler()({"inputs": {"graph": graph}})


def test_a_request_has_its_memory(graph: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgen.serving.handler.machine_memory", lambda: 1000)
    monkeypatch.setattr("paramgen.serving.handler.write_prediction", lambda *_, **__: pytest.fail("it was made"))
    with pytest.raises(OptionError, match="at most 500 are given to one"):
        EndpointHandler()({"inputs": {"graph": graph}})


def test_what_is_too_large_to_answer_is_refused_before_it_is_made(
    graph: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paramgen.serving.handler.MAX_ANSWERED", 1000)
    monkeypatch.setattr("paramgen.serving.handler.write_prediction", lambda *_, **__: pytest.fail("it was made"))
    with pytest.raises(OptionError, match="allowed are 1,000.*have them pushed"):
        EndpointHandler()({"inputs": {"graph": graph}})


def test_a_failed_push_does_not_tell_the_token(graph: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, repo: str, **_: Any) -> None:
        raise RuntimeError(f"401 for {self.token}")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", fail)
    with pytest.raises(OutputError, match="Pushing to 'me/x' failed: RuntimeError: 401 for ...") as refused:
        EndpointHandler()({"inputs": {"graph": graph}, "parameters": {"push": "me/x", "token": "hf_secret"}})
    assert refused.value.__cause__ is None


@pytest.mark.filterwarnings("default:Use .content")  # huggingface_hub's own
def test_a_push_is_the_callers_and_private(
    graph: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"init": "he", "push": "other/start"}
    with connected(tmp_path, monkeypatch, xet=False, token="hf_me") as hub:
        data = {"inputs": {"graph": graph}, "parameters": {**given, "token": "hf_other"}}
        answer = EndpointHandler()(data)
        pushed = hub.store["other/start"]  # where the endpoint's own token may not write
        with pytest.raises(OutputError, match="Pushing to 'other/start' failed") as refused:
            EndpointHandler()({**data, "parameters": {**given, "token": "hf_me"}})
    assert pushed.private and answer["commit"] == pushed.refs["main"] and answer["pushed"] == f"{hub.url}/other/start"
    (tmp_path / "g.json").write_text(json.dumps(graph), encoding="utf-8")
    paramgen.write(str(tmp_path / "g.json"), tmp_path / "start", init="he", verify=False)
    tree = pushed.tree(pushed.refs["main"])
    weights = (tmp_path / "start" / "model.safetensors").read_bytes()
    assert tree["model.safetensors"].sha256 == sha256(weights).hexdigest()
    assert tree.keys() - {".gitattributes"} == {path.name for path in (tmp_path / "start").iterdir()}
    assert "hf_" not in str(answer) + str(refused.value)


def test_the_service_has_the_same_handler() -> None:
    assert served.EndpointHandler is EndpointHandler


def test_what_a_draw_does_not_write_is_zero(graph: dict[str, Any]) -> None:
    import torch

    blank = with_unwritten_slot(graph)
    torch.use_deterministic_algorithms(True)  # fills what it hands out with 255
    try:
        answer = EndpointHandler()({"inputs": {"graph": blank}, "parameters": {"init": "library"}})
    finally:
        torch.use_deterministic_algorithms(False)
    assert int(load(base64.b64decode(answer["data"]))["blank"].count_nonzero()) == 0
