"""The catalog of published models: every row is whole, and what it says of a network is what that network is."""

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from paramgen.graphs.analysis.model_families import MODEL_FAMILIES
from paramgen.initializers.inheritance.catalog import CATALOG, PublishedModel, catalog
from paramgen.registry.repository_names import is_repository
from scripts.measure_donors import measured, row

SMALL = 6_000_000  # parameters


def smallest() -> Iterator[PublishedModel]:
    """One model of each family and library, small enough to be traced in a moment."""
    seen = set()
    for model in sorted(catalog(), key=lambda model: model.profile.parameters):
        kind = model.profile.family, model.spec.partition(":")[0]
        if kind not in seen and model.profile.parameters < SMALL:
            seen.add(kind)
            yield model


def rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tomllib.loads((files("paramgen.initializers.inheritance") / CATALOG).read_text())[
        "donors"
    ]
    return rows


@pytest.mark.parametrize("given", rows(), ids=lambda given: given["repo"])
def test_every_row_is_whole(given: dict[str, Any]) -> None:
    assert is_repository(given["repo"])
    assert given["revision"] and given["license"] == given["license"].lower().strip()
    assert given["family"] in MODEL_FAMILIES and given["family"] != "other"
    assert all(name and name == name.strip() for name in given.get("data", ()))
    assert given.get("dtype", "float32") in ("float32", "bfloat16", "float16")
    assert given["parameters"] > 100_000 and given["depth"] > 0 and all(width > 0 for width in given["widths"])
    assert sum(given["operations"].values()) == pytest.approx(1, abs=0.01)
    assert (
        not given.keys()
        - {"repo", "revision", "spec", "license", "data", "dtype"}
        - {*("family", "parameters", "widths", "depth", "patch", "input", "operations")}
    )


def test_no_repository_stands_there_twice_and_each_family_has_a_ladder() -> None:
    repos = [given["repo"] for given in rows()]
    assert len(set(repos)) == len(repos) == len(catalog())
    families = {model.profile.family for model in catalog()}
    assert families == set(MODEL_FAMILIES) - {"mlp", "other"}
    for family in families:
        sizes = {model.profile.parameters for model in catalog() if model.profile.family == family}
        assert len(sizes) >= 3, family


def test_timm_says_the_same_of_its_models() -> None:
    timm = pytest.importorskip("timm")
    for model in catalog():
        if model.repo.startswith("timm/"):
            known = timm.get_pretrained_cfg(model.repo.removeprefix("timm/"))
            assert (known.hf_hub_id, known.license) == (model.repo, model.license)


@pytest.mark.parametrize("model", list(smallest()), ids=lambda model: model.repo)
def test_what_is_said_of_a_network_is_measured(model: PublishedModel) -> None:
    assert measured(model.spec) == model.profile


def test_a_row_is_written_as_it_is_read() -> None:
    text = (files("paramgen.initializers.inheritance") / CATALOG).read_text()
    for given, model in zip(rows(), catalog(), strict=True):
        assert row(given, model.profile) in text
