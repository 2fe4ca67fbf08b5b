"""`auto`: chosen by measurements, never worse than the default initialization, and always with its reason."""

import dataclasses
import json
import math
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

import paramgen
from paramgen.errors import ParamgenError
from paramgen.graphs.analysis.model_families import MODEL_FAMILIES
from paramgen.initializers import ResolvedInitializer, auto, initializer_of
from paramgen.initializers.auto import Measured, Table, measured_on, table
from paramgen.initializers.hypernet import HypernetInitializer
from paramgen.initializers.lsuv import Lsuv
from paramgen.output.names import hypernets
from paramgen.prediction import prepare
from paramgen.storage.digest import cached_sha256

if TYPE_CHECKING:
    from conftest import Command

IMAGES = torch.zeros(2, 3, 8, 8)
Fake = Callable[..., None]


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


def content(*scores: tuple[str, float | None], **changes: Any) -> dict[str, Any]:
    """Return a table in which the first of `scores` is best for plain CNNs, and nothing else was measured."""
    nothing: dict[str, Any] = {"initializers": [{"init": "library", "accuracy": None}], "networks": [], "data": []}
    nothing |= {"steps": 0, "seeds": 0, "smallest": 0, "largest": 0}
    ranked = [{"init": init, "accuracy": accuracy} for init, accuracy in scores]
    own = {"initializers": ranked, "networks": ["a", "b"], "data": ["CIFAR-10"], "steps": 500, "seeds": 3}
    own |= {"smallest": 0, "largest": 1_000, **changes}
    return {
        "results": ["r.json"],
        "hypernets": {},
        "families": {**dict.fromkeys(MODEL_FAMILIES, [nothing]), "plain_cnn": [own]},
    }


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    def put(*scores: tuple[str, float | None]) -> None:
        made = Table.parse(json.dumps(content(*scores)))
        monkeypatch.setattr(auto, "table", lambda: made)

    return put


def test_the_measured_best_is_chosen_and_the_reason_has_its_numbers(fake: Fake) -> None:
    fake(("orthogonal", 0.512), ("he", 0.5), ("library", 0.45))
    prediction = paramgen.predict(cnn(), example_input=IMAGES, seed=3)
    named = paramgen.predict(cnn(), init="orthogonal", example_input=IMAGES, seed=3)
    assert prediction.init == "auto" and prediction.rules == named.rules and "orthogonal" in prediction.rules.values()
    assert all(torch.equal(value, named.state_dict()[name]) for name, value in prediction.state_dict().items())
    described = prediction.resolved.describe()
    assert described["resolved"] == "orthogonal" and described["family"] == "plain_cnn"
    assert described["reason"] == (
        "plain CNN: orthogonal reached 51.2 % and library 45.0 % on 2 networks of this kind, of up to 1,000 parameters "
        "(CIFAR-10; 500 steps, 3 seeds)"
    )


def test_what_was_not_measured_gets_the_default_initialization(fake: Fake) -> None:
    fake(("orthogonal", 0.512), ("library", 0.45))
    prediction = paramgen.predict(nn.Linear(6, 4), example_input=torch.zeros(2, 6))
    assert set(prediction.rules.values()) == set(paramgen.predict(nn.Linear(6, 4), init="library").rules.values())
    assert prediction.choice is not None
    assert prediction.choice.reason == ("plain MLP: nothing is known to be better, as no such network was measured yet")


def test_nothing_better_than_the_library_is_said_so(fake: Fake) -> None:
    fake(("library", 0.45))
    choice = paramgen.predict(cnn(), example_input=IMAGES).choice
    assert choice is not None
    assert choice.reason.startswith(
        "plain CNN: nothing is known to be better; none trained significantly better than library (45.0 %) on"
    )


def test_it_does_not_reach_far_beyond_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(parameter.numel() for parameter in cnn().parameters())
    for largest, init in ((parameters // 4 + 1, "he"), (parameters // 4 - 1, "library")):
        made = Table.parse(json.dumps(content(("he", 0.5), ("library", 0.45), largest=largest)))
        monkeypatch.setattr(auto, "table", lambda made=made: made)
        chosen = paramgen.predict(cnn(), example_input=IMAGES).choice
        assert chosen is not None and chosen.init == init
    said = f"nothing is known to be better for one of {parameters:,} parameters; the largest that was measured has"
    assert chosen is not None
    assert chosen.reason == f"plain CNN: {said} {largest:,}"  # and no word of what did better on smaller ones


def test_what_was_measured_at_the_networks_own_size_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(parameter.numel() for parameter in cnn().parameters())
    data = content(("he", 0.5), ("library", 0.45), largest=parameters // 8)
    large = content(("orthogonal", 0.7), ("library", 0.6), smallest=parameters // 2, largest=parameters * 100)
    data["families"]["plain_cnn"] += large["families"]["plain_cnn"]
    made = Table.parse(json.dumps(data))
    monkeypatch.setattr(auto, "table", lambda: made)
    chosen = paramgen.predict(cnn(), example_input=IMAGES).choice
    assert chosen is not None and chosen.init == "orthogonal"
    assert f"of this kind, a and b, of {parameters // 2:,} to {parameters * 100:,} parameters" in chosen.reason
    small = nn.Sequential(nn.Conv2d(3, 1, 3), nn.Flatten(), nn.Linear(36, 1))
    chosen = paramgen.predict(small, example_input=IMAGES).choice
    assert chosen is not None and chosen.init == "he" and "of up to" in chosen.reason


@pytest.mark.parametrize(("parameters", "distance"), [(5, 10 / 5), (10, 1), (100, 1), (1_000, 1), (4_000, 4), (0, 10)])
def test_the_distance_of_a_size_is_the_factor_to_the_nearest_measured(parameters: int, distance: float) -> None:
    measured = Measured(scores={"library": 0.5}, smallest=10, largest=1_000)
    assert math.exp(measured.distance(parameters)) == pytest.approx(distance)


def test_what_must_run_the_network_gives_way_where_it_cannot(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(("lsuv", 0.6), ("he", 0.5), ("library", 0.45))
    prediction = paramgen.predict(cnn(), example_input=IMAGES)
    assert prediction.resolved_init == "lsuv"
    bare = dataclasses.replace(prediction.architecture, module=None, example=None)
    initializer = initializer_of("auto")
    chosen = initializer.resolve(bare, prediction.graph).choice
    assert chosen is not None and chosen.init == "he"
    assert chosen.reason.endswith("; lsuv did better, but it runs the network, and a graph alone cannot be run")
    assert dict(initializer.tensors(bare, prediction.graph, seed=0)).keys() == prediction.rules.keys()
    assert set(initializer.rules(bare, prediction.graph).values()) == {"he", "zero"}
    monkeypatch.setattr(auto, "MAX_RUN", 10)
    chosen = paramgen.predict(cnn(), example_input=IMAGES).choice
    assert chosen is not None and "which has more than 10 elements" in chosen.reason


BROKEN: list[tuple[dict[str, Any] | str, str]] = [
    ("{", "no table"),
    ({"families": {}}, "'results'"),
    ({"results": [], "hypernets": {}, "families": {}}, "lacks the family"),
    ({"results": [], "families": {"mlp": [{"initializers": 3}]}}, "no table"),
    ({**content(("library", 0.4)), "families": {**dict.fromkeys(MODEL_FAMILIES, [])}}, "says nothing of the family"),
    (content(("hypernte", 0.5), ("library", 0.4)), "Unknown initializer 'hypernte'"),
    (content(("he?modus=fan_out", 0.5), ("library", 0.4)), "modus"),
    (content(("hypernet:some/folder", 0.5), ("library", 0.4)), "'hypernet:some/folder' at 0.5"),
    (content(("auto", 0.5), ("library", 0.4)), "'auto' at 0.5"),
    (content(("he", 0.3), ("library", 0.4)), "best first, library last"),
    (content(("library", 0.4), ("he", 0.3)), "best first, library last"),
    (content(("he", 0.5)), "best first, library last"),
    (content(("he", 50.0), ("library", 40.0)), "'he' at 50.0"),
    (content(("library", None)), "2 networks and values"),
    (content(("library", 0.4), networks=[]), "0 networks and values"),
]


@pytest.mark.parametrize(("data", "said"), BROKEN)
def test_a_table_that_contradicts_itself_is_refused(data: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(ParamgenError) as refusal:
        Table.parse(data if isinstance(data, str) else json.dumps(data))
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_unknown_family_is_refused() -> None:
    data = content(("library", 0.4))
    data["families"]["bees"] = data["families"]["mlp"]
    with pytest.raises(ParamgenError, match="unknown family 'bees'"):
        Table.parse(json.dumps(data))


def test_the_table_in_the_wheel_is_whole_and_its_result_is_kept() -> None:
    shipped = auto.table()
    assert tuple(shipped.families) == MODEL_FAMILIES
    results = Path(__file__).parents[2] / "cards" / "results"
    assert shipped.results and all((results / result).is_file() for result in shipped.results)
    assert any("hypernet" in sizes[0].scores for sizes in shipped.families.values()) and shipped.hypernets
    for name, digest in shipped.hypernets.items():  # what was measured is what ships
        assert digest == initializer_of(f"hypernet:{name}").describe()["sha256"]


def test_a_graph_alone_has_a_default_too(command: "Command", own: Path) -> None:
    assert command("graph", "--arch", "own.py:build", "--out", "g.json", "-q").status == 0
    done = command("predict", "--arch", "g.json", "--out", "start", "--json")
    assert json.loads(done.out)["init"] == "auto" and json.loads(done.out)["resolved"]


def test_the_command_says_what_it_chose_and_so_does_the_folder(command: "Command", own: Path, tmp_path: Path) -> None:
    done = command("predict", "--arch", "own.py:build", "--out", "start")
    assert done.status == 0, done
    record = json.loads((tmp_path / "start" / "paramgen.json").read_text())
    kept = record["initializer"]
    assert record["init"] == "auto" and kept["resolved"] in done.out and kept["reason"]
    assert done.out.splitlines()[1] == f"  auto chose {kept['resolved']}: {kept['reason']}"
    again = json.loads(command("predict", "--arch", "own.py:build", "--out", "again", "--json").out)
    assert {key: again[key] for key in ("resolved", "family", "reason")} == {
        key: kept[key] for key in ("resolved", "family", "reason")
    }
    weights = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("start", "again")]
    assert weights[0] == weights[1]
    assert command("check", "start").status == 0


def test_it_is_the_default_everywhere(tmp_path: Path) -> None:
    module = cnn()
    assert prepare(cnn(), example_input=((IMAGES,), {})).init == "auto"
    assert paramgen.write(module, tmp_path / "out", example_input=IMAGES).prediction.init == "auto"
    rules = paramgen.predict(cnn(), example_input=IMAGES).rules
    assert paramgen.initialize_(module, example_input=IMAGES) == rules


def test_several_reasons_why_better_ones_cannot_be_used_are_told_apart(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(("lsuv", 0.6), ("hypernet", 0.5), ("library", 0.45))
    reasons = {"lsuv": "it is slow", "hypernet": "it knows none of it"}
    monkeypatch.setattr(
        auto, "_hindrance", lambda initializer, *_: reasons["lsuv" if isinstance(initializer, Lsuv) else "hypernet"]
    )
    chosen = paramgen.predict(cnn(), example_input=IMAGES).choice
    assert chosen is not None and chosen.init == "library"
    assert chosen.reason.endswith(": lsuv did better, but it is slow; hypernet did better, but it knows none of it")


def test_the_tokenizer_is_passed_on_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, Any]] = []

    def with_tokenizer(self: HypernetInitializer, tokenizer: str, reader: Any = None) -> HypernetInitializer:
        seen.append((tokenizer, reader))
        return self

    monkeypatch.setattr(HypernetInitializer, "with_tokenizer", with_tokenizer)
    bare = paramgen.predict(GPT2, init="library")
    reader = object()
    one, other = (initializer_of("auto").with_tokenizer("words", each) for each in (reader, object()))
    assert one == other  # a tokenizer is known by its name
    one.resolve(bare.architecture, bare.graph)
    assert seen and set(seen) == {("words", reader)}


def test_auto_takes_no_argument() -> None:
    with pytest.raises(ParamgenError, match="takes no argument"):
        prepare(cnn(), init="auto:he", example_input=((IMAGES,), {}))


def test_a_language_model_is_predicted_if_it_is_known_how_its_tokens_are_spelled() -> None:
    spec = "transformers:GPT2LMHeadModel?n_layer=1&n_embd=48&n_head=3&n_positions=32"
    assert paramgen.predict(f"{spec}&vocab_size=256").resolved_init == "hypernet:text"
    chosen = paramgen.predict(f"{spec}&vocab_size=300").choice
    assert chosen is not None and chosen.init == "library" and "--tokenizer FOLDER" in chosen.reason


VIT = "timm:test_vit?img_size=32&patch_size=8&num_classes=10"
GPT2 = "transformers:GPT2LMHeadModel?n_layer=1&n_embd=48&n_head=3&n_positions=32&vocab_size=256"


@pytest.mark.parametrize(("spec", "hypernet"), [(VIT, "vision"), (GPT2, "text")])
def test_what_is_recorded_is_of_the_hypernet_that_was_chosen(spec: str, hypernet: str, tmp_path: Path) -> None:
    """Its weights' digest, its data sets, its licence and, on the card, its figures: of no other one."""
    paramgen.write(spec, tmp_path / "out", verify=False)
    folder = Path(paramgen.__file__).parent / "pretrained" / hypernet
    record = json.loads((tmp_path / "out" / "paramgen.json").read_text())
    assert record["init"] == "auto"
    assert record["initializer"]["resolved"] == {"vision": "hypernet", "text": "hypernet:text"}[hypernet]
    assert record["initializer"]["sha256"] == cached_sha256(folder / "model.safetensors")
    assert record["initializer"]["hypernet"] == record["provenance"]["from"] == f"paramgen/{hypernet}"
    measured = auto.table().families[record["family"]][0]
    assert record["initializer"]["family"] == record["family"] and measured.largest > 100_000
    assert record["measured"] == {"networks": len(measured.networks), "largest": measured.largest}
    own, card = ModelCard.load(folder / "README.md").data, ModelCard.load(tmp_path / "out" / "README.md")
    assert record["provenance"]["datasets"] == own.datasets == card.data.datasets
    named = paramgen.predict(spec, init=f"hypernet:{hypernet}").state_dict()
    assert all(torch.equal(value, named[name]) for name, value in paramgen.predict(spec).state_dict().items())
    for other in {"vision", "text"} - {hypernet}:
        assert f"paramgen/{other}" not in card.content


def test_figures_are_recorded_of_what_was_measured_only(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Table.parse(
        json.dumps({**content(("he", 0.5), ("library", 0.4)), "hypernets": {"vision": "v", "text": "t"}})
    )
    monkeypatch.setattr(auto, "table", lambda: made)
    assert measured_on({"sha256": "v"}, "plain_cnn") == {"networks": 2, "largest": 1_000}
    assert measured_on({"sha256": "t"}, "text_transformer") == {"networks": 0, "largest": 0}
    for described, family in (({"sha256": "t"}, "plain_cnn"), ({"sha256": "v"}, "text_transformer")):
        assert measured_on(described, family) == {}  # type: ignore[arg-type]
    assert measured_on({"sha256": "of another"}, "plain_cnn") == measured_on({}, "plain_cnn") == {}


def test_the_table_is_known_by_its_digest() -> None:
    text = (Path(auto.__file__).parent / "measured.json").read_bytes()
    assert initializer_of("auto").describe() == {"measured": sha256(text).hexdigest()}
    made = Table.parse(changed := json.dumps(content(("he", 0.5), ("library", 0.4))))
    assert made.sha256 == sha256(changed.encode()).hexdigest() and made.results == ("r.json",)


def test_an_initializer_that_was_chosen_chooses_no_other() -> None:
    prediction = paramgen.predict(GPT2)
    chosen = prediction.initializer
    assert prediction.choice is not None
    assert chosen.resolve(prediction.architecture, prediction.graph) == ResolvedInitializer(initializer=chosen)
    own = paramgen.predict(GPT2, init="hypernet").initializer
    assert own.describe()["sha256"] == chosen.describe()["sha256"] and own.provenance() == chosen.provenance()


def test_where_nothing_is_known_to_be_better_the_next_step_is_a_line_of_its_own(
    command: "Command", tmp_path: Path
) -> None:
    typed = ("--arch", "timm:convnext_large", "--set", "num_classes=3")
    dry = json.loads(command("predict", *typed, "--dry-run", "--json").out)
    step = "paramgen compare --arch timm:convnext_large --set num_classes=3 --data IMAGES"
    donors = "Trained weights to begin with: paramgen donors --arch timm:convnext_large --set num_classes=3"
    assert dry["resolved"] == "library" and dry["next_step"] == f"{donors}; to measure it on your data: {step}"
    assert "nothing is known to be better for one of 196,234,947 parameters" in dry["reason"]
    assert "did better" not in dry["reason"] and "hypernet" not in dry["reason"]
    (tmp_path / "flat.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(3, 4, 3)\n")
    out = command("predict", "--arch", "flat.py:build", "--example-input", "2x3x8x8", "--out", "start").out
    lines = [line.strip() for line in out.splitlines()]
    assert lines[1].startswith("auto chose library: network of another kind: nothing is known to be better")
    assert lines[2] == (
        "To measure it on your data: paramgen compare --arch flat.py:build --example-input 2x3x8x8 --data IMAGES"
    )


def test_the_next_step_is_one_that_can_be_taken(command: "Command", own: Path) -> None:
    live = paramgen.predict(nn.Conv2d(3, 4, 3), example_input=torch.zeros(2, 3, 8, 8))
    assert live.next_step == "To measure it on your data: paramgen.compare(module, data)"
    assert paramgen.predict(nn.Conv2d(3, 4, 3), init="library", example_input=torch.zeros(2, 3, 8, 8)).next_step == ""
    assert paramgen.predict(nn.Linear(6, 4), example_input=torch.zeros(2, 6)).next_step == ""  # no classes, no images
    assert paramgen.predict(VIT).next_step == ""  # something better is known
    text = paramgen.predict("gpt2", overrides={"n_layer": 1, "n_embd": 3072}).next_step
    assert text.endswith("paramgen compare --arch gpt2 --set n_layer=1 --set n_embd=3072 --data TEXT")
    encoder = {"num_hidden_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2}
    assert paramgen.predict("transformers:BertForMaskedLM", overrides=encoder).next_step == ""


def test_the_list_of_hypernets_says_on_what_auto_measured_them() -> None:
    shipped = hypernets()
    for name, digest in table().hypernets.items():
        measured = {family: measured_on({"sha256": digest}, family) for family in MODEL_FAMILIES}
        assert shipped[name]["measured"]["families"] == {
            family: found for family, found in measured.items() if found.get("networks")
        }
