"""Several initializations side by side, whatever the network is; and what is refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import paramgen
from paramgen.api.types import Diagnosis
from paramgen.diagnosis import measures
from paramgen.diagnosis.diagnosing import DEFAULT_MEASURES

Plain = Callable[..., nn.Module]


class Normalized(nn.Module):
    """A small convolutional network with batch normalization."""

    example_input = torch.zeros(2, 3, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(images)).relu().mean((2, 3)))


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(4, 8)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(self.first(inputs))


def test_every_measure_of_every_initialization_as_json(plain: Plain) -> None:
    found = paramgen.diagnose(plain(3, 16), init=["library", "he"], example_input="2x16")
    assert isinstance(found, Diagnosis)
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    named = [(each["init"], each["measure"]) for each in record["results"]]
    assert named == [(init, measure) for init in ("library", "he") for measure in DEFAULT_MEASURES]
    for each in record["results"]:
        assert each["figures"] and isinstance(each["advice"], list)
        assert each["figures"].keys() >= each["lights"].keys()
        assert set(each["figures"]) <= set(measures.get(each["measure"]).labels)
    signal = next(each for each in record["results"] if each["measure"] == "signal")
    assert [layer["layer"] for layer in signal["layers"]] == ["0", "2", "4", "6"]
    assert "2 good" in repr(found) or "good" in repr(found)
    assert "<table" in found._repr_html_()


def test_the_same_seed_gives_the_same_figures_and_another_one_others(plain: Plain) -> None:
    def figures(seed: int) -> list[object]:
        found = paramgen.diagnose(plain(2, 16), init="he", example_input="2x16", seed=seed)
        return [each.figures for each in found.results]

    assert figures(3) == figures(3)
    assert figures(3) != figures(4)


def test_a_live_module_is_not_changed() -> None:
    module = Normalized()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    paramgen.diagnose(module, init=["library", "orthogonal"], examples=8)
    assert module.training
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_weights_that_are_no_numbers_are_the_diagnosis(plain: Plain) -> None:
    module = plain(2, 16)
    with torch.no_grad():
        next(module.parameters())[0, :3] = float("nan")
    found = paramgen.diagnose(module, init=["library", "he"], example_input="2x16", what="signal")
    assert found.figure("library", "weights", "nonfinite") == 3
    assert found.advice == ["library: 3 weights are NaN or infinite, first in 0.weight: fill them again."]
    assert found.figure("he", "signal", "forward") is not None


def test_a_folder_is_one_more_initialization_and_says_its_network(tmp_path: Path) -> None:
    paramgen.write("timm:test_vit", tmp_path / "weights", init="orthogonal", seed=5, progress=False)
    folder = tmp_path / "weights"
    found = paramgen.diagnose(folder=folder, what="signal,guessing", examples=4)
    other = paramgen.diagnose("timm:test_vit", init="orthogonal", folder=folder, what="signal", seed=5, examples=4)
    assert found.inits == (f"folder:{folder}",)
    assert found.figure(f"folder:{folder}", "signal", "chi") is not None
    first, second = (other.figure(init, "signal", "forward") for init in ("orthogonal", f"folder:{folder}"))
    assert first == second
    with pytest.raises(paramgen.ParamgenError, match=r"Leave .*out"):
        paramgen.diagnose("timm:test_vit", folder=folder, overrides={"num_classes": 7})


def test_data_with_labels_align_the_kernel() -> None:
    labels = torch.arange(8) % 4
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)) + labels.view(-1, 1, 1, 1)
    found = paramgen.diagnose(Normalized(), data=(images, labels), what="ntk,gradient")
    assert found.figure("library", "ntk", "rows") == 8
    alignment = found.figure("library", "ntk", "alignment")
    assert alignment is not None and alignment > 0
    assert not found.notes


def test_a_network_that_returns_no_scores_is_measured_against_noise() -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3))
    found = paramgen.diagnose(module, example_input="2x3x8x8")
    assert not any(each.reason for each in found.results)
    assert found.figure("library", "gradient", "norm") is not None


def test_a_language_model_is_measured_on_tokens() -> None:
    small = {"n_layer": 2, "n_embd": 16, "n_head": 2, "vocab_size": 50, "n_positions": 16}
    found = paramgen.diagnose("gpt2", overrides=small, examples=4)
    assert found.data == "random tokens"
    assert not any(each.reason for each in found.results)
    loss = found.figure("library", "gradient", "loss")
    assert loss == pytest.approx(3.91, abs=0.1)  # log(50): it knows nothing


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"what": "signl"}, "Unknown measure 'signl'. Did you mean 'signal'"),
        ({"examples": 1}, "allowed are 2 to 4,096"),
        ({"examples": 5000}, "allowed are 2 to 4,096"),
        ({"seeds": 0}, "allowed are 1 to 1,000"),
        ({"seed": -1}, "The seed is -1"),
        ({"init": ["he", "he"]}, "named twice"),
        ({"tokenizer": "gpt2"}, "there is none"),
        ({"out": "page.pdf"}, "Allowed: .html"),
    ],
)
def test_what_is_refused(plain: Plain, options: dict[str, object], said: str) -> None:
    with pytest.raises(paramgen.ParamgenError) as error:
        paramgen.diagnose(plain(1, 8), example_input="2x8", **options)  # type: ignore[arg-type]
    assert said in error.value.message and "\n" not in error.value.message


def test_a_network_that_cannot_run_says_where() -> None:
    with pytest.raises(paramgen.ParamgenError, match=r"fails in submodule 'second' \(Linear\): RuntimeError"):
        paramgen.diagnose(Broken(), example_input="2x4", what="signal")
    tokens = nn.Sequential(nn.Embedding(4, 8), nn.Linear(8, 2))  # only values tell
    with pytest.raises(paramgen.ParamgenError, match=r"does not run on the CPU, in 0 \(Embedding\): IndexError"):
        paramgen.diagnose(tokens, data=torch.full((2, 3), 9), what="signal")


@pytest.mark.filterwarnings("ignore::paramgen.errors.TraceWarning")
def test_an_example_input_that_is_missing_is_requested() -> None:
    class Unknown(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))

        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ self.weight

    with pytest.raises(paramgen.ParamgenError, match="No example input is known"):
        paramgen.diagnose(Unknown())


def test_more_rows_than_memory_has_room_for(plain: Plain, monkeypatch: pytest.MonkeyPatch) -> None:
    module = plain(2, 16)
    bytes_a_row = 4 * sum(each.numel() for each in module.parameters())
    monkeypatch.setattr("paramgen.diagnosis.ntk.machine_memory", lambda: 2 * 20 * bytes_a_row)
    with pytest.raises(paramgen.ParamgenError) as error:
        paramgen.diagnose(module, example_input="2x16", what="ntk", examples=64)
    assert "memory has room for 17" in error.value.message and "--examples 17" in error.value.message
    found = paramgen.diagnose(module, example_input="2x16", what="ntk", examples=17)
    assert found.figure("library", "ntk", "rows") == 17
    found = paramgen.diagnose(module, example_input="2x16")
    assert found.figure("library", "ntk", "rows") == 8


def test_labels_that_do_not_fit_are_refused(plain: Plain) -> None:
    inputs = torch.randn(8, 16)
    with pytest.raises(paramgen.ParamgenError, match="10 outputs, and there is a label 11"):
        paramgen.diagnose(plain(1, 16), data=(inputs, torch.full((8,), 11)), what="gradient")
    with pytest.raises(paramgen.ParamgenError, match="8 integers are needed"):
        paramgen.diagnose(plain(1, 16), data=(inputs, torch.ones(7)), what="gradient")


MAMBA = "transformers:mamba?hidden_size=16&num_hidden_layers=2&vocab_size=30&state_size=4"


def test_a_state_space_model_is_measured_and_trained_like_any_other() -> None:
    what = [*DEFAULT_MEASURES, "rate", "interference", "plasticity"]
    found = paramgen.diagnose(MAMBA, example_input="2x8:long", what=what, examples=4)
    assert [each.measure for each in found.results] == what and not any(each.reason for each in found.results)
    for measure, figure in (
        ("signal", "forward"),
        ("ntk", "condition"),
        ("rate", "largest"),
        ("interference", "losing"),
    ):
        assert found.figure("library", measure, figure) is not None, measure


def test_a_graph_network_is_refused_in_one_line() -> None:
    from torch_geometric.nn import GCNConv

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = GCNConv(4, 8), GCNConv(8, 3)

        def forward(self, nodes: Tensor, edge_index: Tensor) -> Tensor:
            return self.second(self.first(nodes, edge_index).relu(), edge_index)

    edges = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
    with pytest.raises(paramgen.ParamgenError, match="takes a graph, whose nodes are no examples") as refusal:
        paramgen.diagnose(Network(), example_input=(torch.zeros(6, 4), edges))
    assert "\n" not in str(refusal.value)
