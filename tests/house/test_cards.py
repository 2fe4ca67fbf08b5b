"""The cards and the README quote the figures of what ships as cards/results has them."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_eval_result
from huggingface_hub.repocard_data import model_index_to_eval_results

from benchmarks.cards import CARDS, rendered
from benchmarks.initialization import text
from benchmarks.initialization.table import TIE, markdown

ROOT = Path(__file__).parents[2]


def result() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "first_light.json").read_text(encoding="utf-8"))
    return found


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def test_the_card_has_a_row_for_every_network() -> None:
    card = (ROOT / "cards" / "first-light.md").read_text(encoding="utf-8")
    for row in result()["networks"]:
        hypernet = row["zero_shot"]["hypernet"]
        expected = (
            f"| {row['network']} | {row['parameters']:,} | {percent(row['zero_shot']['library']['mean'])} | "
            f"{percent(hypernet['mean'])} ± {percent(hypernet['std'])} |"
        )
        assert expected in card


def vision() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "cards" / "results" / "vision.json").read_text(encoding="utf-8"))
    return found


def test_the_vision_card_has_the_whole_table_of_what_ships() -> None:
    card = (ROOT / "cards" / "vision.md").read_text(encoding="utf-8")
    assert markdown(vision()) in card
    weights = ROOT / "paramgen" / "pretrained" / "vision" / "model.safetensors"
    assert vision()["hypernet"]["sha256"] == sha256(weights.read_bytes()).hexdigest()
    run = json.loads((ROOT / "cards" / "results" / "vision_milestones.json").read_text(encoding="utf-8"))["run"]
    assert f"{run['steps']:,} steps of one network" in card and f"{run['minutes']:.0f} minutes" in card


def texts() -> dict[str, Any]:
    file = ROOT / "cards" / "results" / "text_lr_on_test.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def test_the_text_card_and_the_readme_have_the_table_of_what_ships() -> None:
    card = (ROOT / "cards" / "text.md").read_text(encoding="utf-8")
    assert text.markdown(texts()) in card
    weights = ROOT / "paramgen" / "pretrained" / "text" / "model.safetensors"
    assert texts()["hypernet"]["sha256"] == sha256(weights.read_bytes()).hexdigest()
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    found, rows = texts()["summary"], texts()["rows"]
    sizes = sorted(row["parameters"] / 1e6 for row in rows)
    shapes, beyond = {row["network"] for row in rows}, {row["network"] for row in rows if row["beyond"]}
    assert f"On {len(rows)} rows, {len(shapes)} shapes that no training has seen" in readme and found["wins"] == 1
    assert f"{len(beyond)} of them wider and deeper than any in it" in readme
    assert f"{len({row['data'] for row in rows})} texts that it has not read" in readme
    assert f"{1 - found['median_ratio']:.0%}".replace("%", " %") + " lower than from the best simple start" in readme
    assert found["median_steps"] == 0 and "in the median it is there before the first step" in readme
    assert f"({sizes[0]:.1f} to {sizes[-1]:.1f} million parameters)" in readme


def test_the_text_card_and_the_readme_have_the_text_that_was_never_read() -> None:
    found = json.loads((ROOT / "cards" / "results" / "text.json").read_text(encoding="utf-8"))
    assert text.markdown(found) in (ROOT / "cards" / "text.md").read_text(encoding="utf-8")
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    lower = f"{1 - found['summary']['median_ratio']:.0%}".replace("%", " %")
    assert f"{len(found['rows'])} shapes end {lower} lower than from the best simple start of each" in readme
    assert found["hypernet"]["sha256"] == texts()["hypernet"]["sha256"] and found["summary"]["wins"] == 1


def test_the_readme_quotes_the_table() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    whole = vision()["summary"]
    cifar, digits = whole["by_data"]["cifar10"], whole["by_data"]["hand_digits"]
    assert f"On {cifar['rows']} networks that no training has seen" in readme
    assert f"{percent(cifar['final']['hypernet'])} % of CIFAR-10" in readme
    assert f"the library's own start {percent(cifar['final']['library'])} %" in readme
    assert f"{100 * cifar['mean_lead']:.1f} points above the best simple start of each network" in readme
    assert f"the same steps reach {percent(digits['final']['hypernet'])} %" in readme
    assert f"the library's own start {percent(digits['final']['library'])} %: level" in readme
    assert f"({100 * digits['mean_lead']:.1f} points)" in readme and abs(digits["mean_lead"]) < TIE
    assert f"wins or ties on {100 * whole['wins_or_ties']:.0f} % of these {whole['rows']} rows" in readme


def test_the_vision_card_says_what_shuffled_values_have() -> None:
    card = (ROOT / "cards" / "vision.md").read_text(encoding="utf-8")
    said = []
    for data in ("hand_digits", "cifar10"):
        final = vision()["summary"]["by_data"][data]["final"]
        shuffled, whole = (100 * (final[key] - final["library"]) for key in ("shuffled:hypernet", "hypernet"))
        said.append(
            f"{shuffled:.1f} of {whole:.1f} points on {'`hand_digits`' if data == 'hand_digits' else 'CIFAR-10'}"
        )
    assert " ".join(card.split()).count(f"shuffled values have {said[0]}, and {said[1]}") == 1


@pytest.mark.parametrize(("folder", "card"), [("first_light", "first-light"), ("vision", "vision")])
def test_the_folder_in_the_wheel_carries_the_card(folder: str, card: str) -> None:
    shipped = ROOT / "paramgen" / "pretrained" / folder / "README.md"
    assert shipped.read_bytes() == (ROOT / "cards" / f"{card}.md").read_bytes()


@pytest.mark.parametrize("name", CARDS)
def test_what_is_made_of_a_card_is_made_of_its_results(name: str) -> None:
    assert (ROOT / "cards" / f"{name}.md").read_text(encoding="utf-8") == rendered(name)


@pytest.mark.parametrize("name", CARDS)
def test_the_hub_reads_the_metadata(name: str) -> None:
    data = ModelCard.load(ROOT / "cards" / f"{name}.md").data.to_dict()
    assert (data["library_name"], data["license"]) == ("paramgen", "apache-2.0")
    assert {"paramgen", "weight-initialization"} <= set(data["tags"]) and data["datasets"] and data["metrics"]
    model, results = model_index_to_eval_results(data["model-index"])
    assert model == name
    for each in results:
        other = metadata_eval_result(
            model_pretty_name=name,
            task_pretty_name="image-classification",
            task_id=each.task_type,
            metrics_pretty_name=str(each.metric_name),
            metrics_id=each.metric_type,
            metrics_value=each.metric_value,
            dataset_pretty_name=each.dataset_name,
            dataset_id=each.dataset_type,
        )
        (same,) = model_index_to_eval_results(other["model-index"])[1]
        assert (same.metric_value, same.metric_name) == (each.metric_value, each.metric_name)


def test_the_figures_of_the_metadata_are_those_of_the_results() -> None:
    def values(name: str) -> list[Any]:
        return [each.metric_value for each in ModelCard.load(ROOT / "cards" / f"{name}.md").data.eval_results or []]

    found = values("vision")
    for means in vision()["summary"]["by_data"].values():
        assert found[:3] == [means["final"]["hypernet"], means["mean_lead"], means["zero_shot"]["hypernet"]]
        found = found[3:]
    assert not found and values("first-light") == [result()["summary"]["zero_shot_hypernet"]]
