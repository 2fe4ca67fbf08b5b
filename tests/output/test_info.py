"""What `paramgen info` says of a folder that may be anybody's."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import paramgen
from paramgen.errors import CheckError
from paramgen.output.info import info_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("info") / "out"
    paramgen.write(nn.Linear(3, 2), target, init="he", verify=False)
    return target


def recorded(folder: Path, target: Path, **changes: Any) -> Path:
    target.mkdir()
    record = json.loads((folder / "paramgen.json").read_text())
    (target / "paramgen.json").write_text(json.dumps(record | changes))
    return target


def test_what_was_measured_is_said_in_words(folder: Path, tmp_path: Path) -> None:
    assert info_of(str(folder)).in_words()["spec"]
    known = recorded(folder, tmp_path / "known", measured={"networks": 2, "largest": 10_000}, family="convnet")
    assert "2 networks of up to 10,000 parameters" in info_of(str(known)).in_words().values()


@pytest.mark.parametrize(
    "changes",
    [
        {"measured": "much"},
        {"measured": [1]},
        {"measured": 10**30},
        {"measured": {"networks": "1", "largest": 1}},
        {"measured": {"networks": 1}},
        {"measured": {"data": 5}},
        {"measured": {"families": {"x": 1}}},
        {"measured": {"networks": 1, "largest": 1}, "family": ["x"]},
    ],
)
def test_a_record_that_says_otherwise_is_refused_in_a_line(
    folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    strange = recorded(folder, tmp_path / "strange", **changes)
    with pytest.raises(CheckError, match=r"paramgen\.json has no 'measured' or 'family'") as caught:
        info_of(str(strange))
    assert "\n" not in str(caught.value)
