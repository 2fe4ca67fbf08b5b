"""One short line for a console, a small table for a notebook, every text escaped."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import paramgen
from paramgen.comparison import Comparison, Protocol
from paramgen.comparison.outcome import DataSummary, Environment
from paramgen.comparison.results import ArchitectureResult, Conclusion, InitializationResult, TaskSummary

EVIL = "<script>alert('&')</script>"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    prediction = paramgen.predict("timm:resnet18", init="auto")
    folder = tmp_path_factory.mktemp("shown") / "out"
    written = paramgen.write("timm:test_vit", folder, init="library")
    large = paramgen.predict("timm:test_vit", init="library").architecture
    return {
        "Prediction": prediction,
        "Architecture": prediction.architecture,
        "Manifest": prediction.architecture.manifest,
        "Slot": prediction.architecture.manifest["conv1.weight"],
        "InitProgram": prediction.architecture.manifest["conv1.weight"].program,
        "Layout": large.layout,
        "Graph": prediction.graph,
        "Node": prediction.graph.nodes[1],
        "ResolvedInitializer": prediction.resolved,
        "Written": written,
        "Checked": written.checked,
        "Filled": paramgen.initialize_(nn.Sequential(*(nn.Linear(2, 2) for _ in range(200))), init="he"),
        "Comparison": comparison("he"),
    }


def comparison(name: str) -> Comparison:
    """Return the outcome of a comparison with `name` wherever a text stands."""
    task = TaskSummary(
        metric="accuracy", chance=0.1, at_chance_up_to=0.1, unit="image", train=10, validation=10, test=10
    )
    failed = (f"{name}-{index}" for index in range(20))
    results = [
        InitializationResult(init=init, simple=False, by_lr={}, failed=3, reasons=("x",), diverged=0) for init in failed
    ]
    sentences = (f"{name} did better. Type: --seeds 3",) * 30
    architecture = ArchitectureResult(
        name=name,
        spec=name,
        parameters=1,
        task=task,
        notes=(),
        best_simple=None,
        initializations=tuple(results),
        conclusion=Conclusion(best=None, tied=(), sentences=sentences),
    )
    return Comparison(
        architectures=(architecture,),
        data=DataSummary(name=name, sha256="", classes=None, notes=()),
        protocol=Protocol(),
        settings={"inits": {}},
        environment=Environment(commit=None, device="cpu", processor="", threads=1, versions={}),
    )


NAMES = """Prediction Architecture Manifest Slot InitProgram Layout Graph Node ResolvedInitializer Written Checked
Filled Comparison""".split()


@pytest.mark.parametrize("name", NAMES)
def test_one_short_line(shown: dict[str, Any], name: str) -> None:
    text = repr(shown[name])
    assert text.startswith(f"{name}(") and "\n" not in text and len(text) < 600, text


def test_a_prediction_says_what_was_chosen_and_why(shown: dict[str, Any]) -> None:
    prediction, text = shown["Prediction"], repr(shown["Prediction"])
    assert f"'timm:resnet18', 11,689,512 parameters, init='auto' (chose '{prediction.choice.init}' because " in text
    assert " ".join(prediction.choice.reason.split())[:60] in text and text.endswith(", seed=0)")
    named = repr(paramgen.predict("timm:test_vit", init="kaiming", seed=2, dtype="bf16"))
    assert named == "Prediction('timm:test_vit', 371,240 parameters, init='he', seed=2, dtype='bfloat16')"


def test_the_reason_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="paramgen"):
        paramgen.predict("timm:test_vit", init="auto")
        paramgen.predict("timm:test_vit", init="he")
    (record,) = caplog.records
    assert "chose" in record.getMessage() and "because" in record.getMessage()


def test_a_filled_module_says_so_and_is_still_the_rules() -> None:
    module = nn.Linear(3, 3)
    filled = paramgen.initialize_(module, init="he")
    assert filled == dict(filled) == {"weight": "he", "bias": "zero"} and filled.choice is None
    assert repr(filled).startswith("Filled(1 by he, 1 by zero; Prediction('module:")
    choice = paramgen.initialize_(module, init="auto").choice
    assert choice is not None and choice.reason


class Tables(HTMLParser):
    """What a browser makes of it: the tags, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


@pytest.mark.parametrize("name", ["Prediction", "Architecture", "Graph", "Written", "Comparison"])
def test_a_small_table_in_a_notebook(shown: dict[str, Any], name: str) -> None:
    html = shown[name]._repr_html_()
    page = Tables(html)
    assert {"table", "tr", "td"} <= set(page.tags) and page.tags.count("tr") < 40 and len(html) < 12_000
    if name != "Comparison":
        assert repr(shown[name]) in page.text
    else:
        assert "Pass: seeds=3" in page.text


def test_every_text_is_escaped(tmp_path: Path) -> None:
    class Evil(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_parameter(EVIL.replace(".", ""), nn.Parameter(nn.Linear(2, 2).weight.detach()))

        def forward(self, given: Any) -> Any:
            return given

    Evil.__qualname__ = EVIL
    with pytest.warns(paramgen.errors.TraceWarning):
        prediction = paramgen.predict(Evil(), init="library")
    for found in (prediction, prediction.architecture, prediction.graph, comparison(EVIL)):
        html = found._repr_html_()
        assert "<script" not in html and "script" not in Tables(html).tags
    assert EVIL in Tables(prediction.architecture._repr_html_()).text
    assert EVIL in Tables(comparison(EVIL)._repr_html_()).text
