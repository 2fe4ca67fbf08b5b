"""From a published file to the weights of a network: what the reference implementation predicts with the same file."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import paramgen
from paramgen.graphs.views.published import view
from paramgen.graphs.views.published.distances import distances
from paramgen.initializers.hypernet import HYPERNET, IN_PART
from paramgen.prediction import Prediction
from paramgen.published.convert import convert
from tests.support.published import hostile, published, recipe

ASSETS = Path(__file__).parents[1] / "assets" / "published"
DEEP = recipe.Case(family="ghn3", name="chain")
EXPLICIT = recipe.Case(family="ghn3", name="vit", softmax="explicit")
FAST = (DEEP, EXPLICIT, recipe.Case(family="logah_vit", name="vit"), recipe.Case(family="logah_gpt", name="gpt2"))


def marked(case: recipe.Case) -> Any:
    return pytest.param(case, id=case.asset, marks=() if case in FAST else pytest.mark.slow)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each hypernet as a file in its published form, converted."""
    folder = tmp_path_factory.mktemp("published")
    for family in recipe.SHAPES:
        run = {"state_dict": recipe.state(family), "config": recipe.CONFIGS[family]}
        data = hostile.dumped(recipe.state(family)) if family == "ghn3" else hostile.saved(run)
        (folder / f"{family}.pt").write_bytes(data)
        convert(folder / f"{family}.pt", folder / family)
    return {family: folder / family for family in recipe.SHAPES}


def prediction(case: recipe.Case, folder: Path) -> Prediction:
    init = f"hypernet:{folder}?softmax={case.softmax}"
    if case.family == "logah_gpt":
        return paramgen.predict("transformers:GPT2LMHeadModel", init=init, overrides=recipe.language_options(case.name))
    if case.name not in recipe.BUILDERS:
        return paramgen.predict(f"torchvision:{case.name}", init=init, overrides={"num_classes": published.CLASSES})
    image = torch.zeros(2, 3, recipe.SIZE, recipe.SIZE)
    return paramgen.predict(recipe.BUILDERS[case.name](), init=init, example_input=image)


def differences(case: recipe.Case, folder: Path) -> dict[str, float]:
    """The relative difference of each predicted tensor: of its samples, its norm and its mean, whichever is largest."""
    wanted: dict[str, Any] = json.loads(gzip.decompress((ASSETS / f"{case.asset}.json.gz").read_bytes()))
    made = prediction(case, folder)
    assert {name for name, rule in made.rules.items() if rule in (HYPERNET, IN_PART)} == {
        name for name, entry in wanted.items() if entry is not None
    }
    found = {}
    for name, tensor in made:
        entry = wanted.get(name)
        if entry is None:
            continue
        assert list(tensor.shape) == entry["shape"], name
        values = tensor.flatten().double().numpy()[entry["start"] :]
        samples = np.array(entry["values"])
        root = np.sqrt(len(values))  # by the Cauchy-Schwarz inequality, a mean is off by at most the norm over this
        found[name] = max(
            float(np.linalg.norm(values[entry["at"]] - samples) / np.linalg.norm(samples)),
            abs(np.linalg.norm(values) / entry["l2"] - 1),
            abs(values.mean() - entry["mean"]) * root / entry["l2"],
        )
    return found


@pytest.mark.parametrize("case", [marked(case) for case in recipe.CASES])
def test_a_converted_file_predicts_what_the_reference_predicts(case: recipe.Case, folders: dict[str, Path]) -> None:
    found = differences(case, folders[case.family])
    assert max(found.values()) <= 1e-5, max(found, key=lambda name: found[name])


def test_a_cutoff_that_is_one_edge_off_shows(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "distances", lambda edges, nodes, cutoff: distances(edges, nodes, cutoff - 1))
    assert max(differences(DEEP, folders["ghn3"]).values()) > 1e-4


def test_the_other_form_of_attention_shows(folders: dict[str, Path]) -> None:
    name = "encoder.layers.encoder_layer_1.mlp.0.weight"
    forms = [prediction(replace(EXPLICIT, softmax=form), folders["ghn3"]) for form in ("explicit", "fused")]
    explicit, fused = (form.state_dict()[name] for form in forms)
    assert (explicit - fused).norm() > 1e-4 * explicit.norm()
