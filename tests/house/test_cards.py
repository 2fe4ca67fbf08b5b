"""The cards, the README and the site quote the figures of what ships as cards/results has them."""

import json
import re
from hashlib import sha256
from statistics import median
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard import metadata_eval_result
from huggingface_hub.repocard_data import model_index_to_eval_results

from benchmarks.cards import CARDS, rendered
from benchmarks.initialization import text
from benchmarks.initialization.table import TIE, markdown
from paramgen.initializers.auto import MAX_EXTRAPOLATION
from scripts import readme_picture
from tests.support.documents import ROOT, WHEN, flowing, percent, result_of


def result() -> dict[str, Any]:
    return result_of("first_light")


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
    return result_of("vision")


def test_the_vision_card_has_the_whole_table_of_what_ships() -> None:
    card = (ROOT / "cards" / "vision.md").read_text(encoding="utf-8")
    assert markdown(vision()) in card
    weights = ROOT / "paramgen" / "pretrained" / "vision" / "model.safetensors"
    assert vision()["hypernet"]["sha256"] == sha256(weights.read_bytes()).hexdigest()
    run = result_of("vision_milestones")["run"]
    assert f"{run['steps']:,} steps of one network" in card and f"{run['minutes']:.0f} minutes" in card


def texts() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (ROOT / "cards" / "results" / "text_lr_on_test.json").read_text(encoding="utf-8")
    )
    return found


def test_the_text_card_and_the_site_have_the_table_of_what_ships() -> None:
    card = (ROOT / "cards" / "text.md").read_text(encoding="utf-8")
    assert text.markdown(texts()) in card
    weights = ROOT / "paramgen" / "pretrained" / "text" / "model.safetensors"
    assert texts()["hypernet"]["sha256"] == sha256(weights.read_bytes()).hexdigest()
    page = flowing(WHEN)
    found, rows = texts()["summary"], texts()["rows"]
    sizes = sorted(row["parameters"] / 1e6 for row in rows)
    shapes, beyond = {row["network"] for row in rows}, {row["network"] for row in rows if row["beyond"]}
    assert f"On {len(rows)} rows, {len(shapes)} shapes that no training has seen" in page and found["wins"] == 1
    assert f"{len(beyond)} of them wider and deeper than any in it" in page
    assert f"{len({row['data'] for row in rows})} texts that it has not read" in page
    assert f"{_lower(found['median_ratio'])} lower than from the best simple initialization of each (median)" in page
    assert found["median_steps"] == 0 and "In the median it is there before the first step" in page
    assert f"Networks of {sizes[0]:.1f} to {sizes[-1]:.1f} million parameters" in page
    assert f"up to {sizes[-1]:.1f} million parameters)" in flowing("README.md")


def _lower(ratio: float) -> str:
    return f"{1 - ratio:.0%}".replace("%", " %")


def unseen() -> dict[str, Any]:
    return result_of("text")


def test_the_text_card_has_the_text_that_was_never_read() -> None:
    assert text.markdown(unseen()) in (ROOT / "cards" / "text.md").read_text(encoding="utf-8")
    assert unseen()["hypernet"]["sha256"] == texts()["hypernet"]["sha256"] and unseen()["summary"]["wins"] == 1


def _on_unseen_text() -> tuple[str, str, int]:
    rows = unseen()["rows"]
    gains = sorted(1 - row["perplexity"]["hypernet"] / row["perplexity"]["library"] for row in rows)
    shuffled = sum(row["best_simple"] == "shuffled:hypernet" for row in rows)
    return _lower(unseen()["summary"]["median_ratio"]), f"{100 * gains[0]:.0f} to {100 * gains[-1]:.0f} %", shuffled


def test_the_site_quotes_the_longer_training() -> None:
    page = flowing(WHEN)
    found = result_of("text_long")
    (row,) = found["rows"]
    ends = row["perplexity"]
    (shorter,) = (each["ratio"] for each in unseen()["rows"] if each["network"] == row["network"])
    assert found["steps"] == 1000 and row["network"] == "gpt2-112" and row["data"] == "code"
    assert f"to a perplexity of {ends['library']:.2f} from the default initialization" in page
    assert f"of {ends[row['best_simple']]:.2f} from the best simple one" in page
    assert f"and of {ends['hypernet']:.2f} from the hypernet, which is {_lower(row['ratio'])} lower" in page
    assert f"after 300 steps it was {_lower(shorter)} lower" in page
    assert f"takes {row['steps_to_best_simple']} of the 1,000 steps" in page


def test_the_site_quotes_the_language_models_of_sizes_that_people_train() -> None:
    page, found = flowing(WHEN), result_of("text_real")
    rows = {row["network"]: row for row in found["rows"]}
    assert (found["steps"], list(rows)) == (60, ["llama-384", "gpt2-512"])
    assert {(row["data"], row["best_simple"]) for row in rows.values()} == {("code", "shuffled:hypernet")}
    ends = {network: {init: f"{end:.1f}" for init, end in row["perplexity"].items()} for network, row in rows.items()}
    gpt2, llama = rows["gpt2-512"], rows["llama-384"]
    assert f"A GPT-2 of {gpt2['parameters'] / 1e6:.0f} million parameters" in page
    assert f"to a perplexity of {ends['gpt2-512']['library']} from the default initialization" in page
    assert f"of {ends['gpt2-512']['shuffled:hypernet']} from the hypernet's values in random places" in page
    assert f"and of {ends['gpt2-512']['hypernet']} from the hypernet, which is {_lower(gpt2['ratio'])} lower" in page
    assert (
        f"and there after {gpt2['steps_to_best_simple']} steps. A Llama of {llama['parameters'] / 1e6:.0f} million"
        in page
    )
    library, shuffled, own = (ends["llama-384"][init] for init in ("library", "shuffled:hypernet", "hypernet"))
    said = f"ends at {library}, {shuffled} and {own}: {_lower(llama['ratio'])} lower"
    assert f"{said}, and there after {llama['steps_to_best_simple']} steps" in page


def test_the_site_quotes_the_drawn_letters() -> None:
    page = flowing(WHEN)
    found = result_of("vision_omniglot")
    (row,) = found["partial"]
    own, learned = (row["initializations"][init]["final"] for init in ("library", "hypernet"))
    assert (row["network"], row["data"], found["steps"]) == ("efficientnet_b0", "omniglot", 300)
    assert f"to {100 * own['mean']:.1f} ± {100 * own['std']:.1f} % from its own initialization" in page
    assert f"to {100 * learned['mean']:.1f} ± {100 * learned['std']:.1f} % from `hypernet?rest=statistics`" in page


def test_the_readme_quotes_the_text_that_was_never_read() -> None:
    (lower, range_, shuffled), readme = _on_unseen_text(), flowing("README.md")
    assert unseen()["steps"] == 300 and "After 300 steps" in readme
    assert f"perplexity is {lower} lower (median) than from the best simple initialization of each" in readme
    assert f"and {range_} lower than from the default one" in readme
    assert f"on {shuffled} of the {len(unseen()['rows'])} networks the best simple" in readme
    assert all(len(row["perplexity"]) == 6 for row in unseen()["rows"])
    assert "the best of five" in readme and "Each of the six was trained" in readme
    kinds = sorted(row["network"].partition("-")[0] for row in unseen()["rows"])
    assert kinds == ["gpt2", "gpt2", "llama", "llama"] and "Two small GPT-2s and two small Llamas" in readme


def test_the_site_quotes_the_text_that_was_never_read() -> None:
    (lower, range_, shuffled), page = _on_unseen_text(), flowing(WHEN)
    shapes = f"{len(unseen()['rows'])} shapes end {lower} lower than from the best simple initialization of each"
    assert shapes in page and f"the perplexity is {range_} lower" in page
    assert f"It takes {unseen()['summary']['median_steps']:.0f} of the {unseen()['steps']} steps" in page
    assert f"On {shuffled} of the {len(unseen()['rows'])} networks the best simple initialization is" in page


def test_the_site_quotes_the_other_texts() -> None:
    found = result_of("text_more")
    page = flowing(WHEN)
    ratios: dict[str, list[float]] = {}
    for row in found["rows"]:
        ratios.setdefault(row["data"], []).append(row["perplexity"]["hypernet"] / row["perplexity"][row["best_simple"]])
    assert len(ratios["german"]) == 4 and found["hypernet"]["sha256"] == texts()["hypernet"]["sha256"]
    assert f"the same shapes end {_lower(median(ratios['german']))} lower (median)" in page
    assert f"of which it has read another part, {_lower(median(ratios['wikitext2']))} lower" in page
    assert {row["best_simple"] for row in found["rows"]} == {"shuffled:hypernet"} and "is always its own values" in page


@pytest.mark.parametrize("theme", readme_picture.THEMES)
def test_the_picture_shows_the_results(theme: str) -> None:
    drawn = (readme_picture.FOLDER / f"unseen-text-{theme}.svg").read_text(encoding="utf-8")
    ends = readme_picture.finals(unseen()["rows"])
    told = f"{ends['library']:.1f} from the default initialization, {ends['simple']:.1f} from the best simple one, "
    assert told + f"{ends['hypernet']:.1f} from the hypernet" in flowing("README.md")
    for kind, color in readme_picture.THEMES[theme].items():
        assert color in drawn, kind
    assert all(
        f">{ends[kind]:.1f}<" in drawn and f">{label}<" in drawn for kind, label in readme_picture.LABELS.items()
    )
    # The curves themselves; the version of the library that drew them may differ.
    assert _points(drawn) == pytest.approx(_points(readme_picture.picture(unseen(), theme)), abs=2)


def _points(svg: str) -> list[float]:
    paths = [path for path in re.findall(r' d="(M [^"]*)"', svg) if path.count("L") == 6]
    assert len(paths) == len(readme_picture.LABELS) * (len(unseen()["rows"]) + 1)
    return [float(value) for path in paths for value in re.findall(r"[\d.]+", path)]


def test_the_site_quotes_the_table_of_images() -> None:
    page = flowing(WHEN)
    whole = vision()["summary"]
    cifar, digits = whole["by_data"]["cifar10"], whole["by_data"]["hand_digits"]
    assert f"On {cifar['rows']} networks that no training has seen" in page
    assert f"{percent(cifar['final']['hypernet'])} % accuracy" in page
    assert f"the default initialization {percent(cifar['final']['library'])} %" in page
    assert f"{100 * cifar['mean_lead']:.1f} points above the best simple initialization of each network" in page
    assert f"the same steps reach {percent(digits['final']['hypernet'])} %" in page
    assert f"the default initialization {percent(digits['final']['library'])} %: level" in page
    assert f"({100 * digits['mean_lead']:.1f} points)" in page and abs(digits["mean_lead"]) < TIE
    assert f"wins or ties on {100 * whole['wins_or_ties']:.0f} % of the {whole['rows']} rows of the three data" in page


def test_the_readme_says_how_small_the_networks_were() -> None:
    largest = max(row["parameters"] for row in vision()["rows"]) / 1e6
    assert f"at most {largest:.1f} million parameters" in flowing(WHEN)
    assert MAX_EXTRAPOLATION == 4 and all(
        "more than four times" in flowing(name) for name in (WHEN, "README.md", "docs/initializers.md")
    )


def test_the_vision_card_says_what_shuffled_values_have() -> None:
    card = (ROOT / "cards" / "vision.md").read_text(encoding="utf-8")
    said = []
    names = {"hand_digits": "`hand_digits`", "tiny": "`tiny`", "cifar10": "CIFAR-10"}
    for data, name in names.items():
        final = vision()["summary"]["by_data"][data]["final"]
        shuffled, whole = (100 * (final[key] - final["library"]) for key in ("shuffled:hypernet", "hypernet"))
        said.append(f"{shuffled:.1f} of {whole:.1f} points on {name}")
    assert " ".join(card.split()).count(f"shuffled values have {said[0]}, {said[1]}, and {said[2]}") == 1


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


def test_the_page_of_recipes_quotes_what_was_measured() -> None:
    found = result_of("recipes")
    page = (ROOT / "docs" / "how-to" / "recipes.md").read_text(encoding="utf-8")
    assert f"at {found['bandwidth'] // 10**6} MB/s" in page and len(found["networks"]) == 3
    for row in found["networks"]:
        assert row["same_bytes"] and row["recipe_bytes"] < 100_000
        assert (
            f"| `{row['arch']}` | `{row['init']}` | {row['recipe_bytes'] / 1000:.1f} kB | "
            f"{row['folder_bytes'] / 10**6:,.0f} MB | {row['cpu_seconds']:.1f} s | {row['download_seconds']:.1f} s |"
        ) in page
