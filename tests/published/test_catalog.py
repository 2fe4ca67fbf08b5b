import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from paramgen.hypernets.hypernet import empty_hypernet
from paramgen.published import published
from paramgen.published.convert import PUBLISHED_FAMILIES
from paramgen.published.families import Settings
from paramgen.published.ghn3 import GHN3

PATH = Path(__file__).parents[2] / "checkpoints" / "catalog.toml"
REQUIRED = {"host", "file", "family", "dataset", "converts", "licence", "paper"}
KNOWN = REQUIRED | {"repo", "revision", "url", "bytes", "sha256", "blob", "parameters"}
PUBLISHED = {
    "ghn3tm8.pt": (64, 3, 8),
    "ghn3sm8.pt": (128, 5, 16),
    "ghn3lm8.pt": (256, 12, 16),
    "ghn3xlm16.pt": (384, 24, 16),
}


@pytest.fixture(scope="module")
def catalog() -> dict[str, Any]:
    return tomllib.loads(PATH.read_text(encoding="utf-8"))


def test_every_file_says_what_it_is_and_where(catalog: dict[str, Any]) -> None:
    assert catalog["format_version"] == 1
    for entry in catalog["files"]:
        assert REQUIRED <= entry.keys() <= KNOWN, entry
        assert ("url" in entry) != ("repo" in entry and "revision" in entry), entry
        assert entry["family"] in {family.name for family in PUBLISHED_FAMILIES}
        assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", entry["paper"])
        assert re.fullmatch(r"main|[0-9a-f]{40}", entry.get("revision", "main"))
        assert re.fullmatch(r"[0-9a-f]{64}", entry.get("sha256", "0" * 64))
        assert re.fullmatch(r"[0-9a-f]{40}", entry.get("blob", "0" * 40))
        assert type(entry["converts"]) is bool
    names = [(entry.get("repo"), entry["file"]) for entry in catalog["files"]]
    assert len(set(names)) == len(names)


def test_sizes_fit_the_configurations_of_the_paper(catalog: dict[str, Any]) -> None:
    files = {entry["file"]: entry for entry in catalog["files"]}
    for name, (hid, layers, heads) in PUBLISHED.items():
        settings = Settings(
            hid=hid,
            layers=layers,
            heads=heads,
            max_shape=(hid, hid, 16, 16),
            num_classes=1000,
            weight_norm=True,
            ve=True,
            layernorm=True,
        )
        hypernet = empty_hypernet(GHN3.config(settings, {"embed.weight": (15, hid)}))
        count = sum(parameter.numel() for parameter in hypernet.parameters())
        assert count == files[name]["parameters"]
        # A file is its parameters in float32, and for each of its tensors a few hundred bytes.
        tensors = len(hypernet.state_dict())
        assert 0 < files[name].get("bytes", 4 * count + 1) - 4 * count < 1000 * tensors


def test_norms_are_of_files_and_positive(catalog: dict[str, Any]) -> None:
    norms = {name: table for name, table in catalog["norms"].items() if isinstance(table, dict)}
    assert norms.keys() == {"ghn3xlm16.pt", "ghn3tm8.pt", "ghn2.pt"}
    assert all(len(table) == 74 for table in norms.values())
    assert all(value > 0 for table in norms.values() for value in table.values())
    assert norms["ghn3xlm16.pt"]["alexnet"] == 72.4766
    assert norms.keys() <= {
        entry["file"] for entry in catalog["files"] if entry.get("repo") == catalog["norms"]["repo"]
    }


def test_the_package_carries_what_the_catalog_says(catalog: dict[str, Any]) -> None:
    from checkpoints.published import PACKAGED, packaged  # which needs Python 3.11

    text = PACKAGED.read_text(encoding="utf-8")
    assert text == packaged(catalog), "type: python -m checkpoints.published"


def test_what_the_package_carries_is_read(catalog: dict[str, Any]) -> None:
    known = {(entry.repo, entry.file): entry for entry in published.catalog().files}
    assert known.keys() == {(entry.get("repo"), entry["file"]) for entry in catalog["files"]}
    assert published.catalog().tolerance == catalog["norms"]["tolerance"]
    tiny = known[catalog["norms"]["repo"], "ghn3tm8.pt"]
    assert (tiny.family, tiny.parameters, tiny.norms["resnet50"]) == ("ghn3", 6_906_632, 78.6197)
    assert {file for (_, file), entry in known.items() if entry.norms} == {"ghn3xlm16.pt", "ghn3tm8.pt", "ghn2.pt"}
