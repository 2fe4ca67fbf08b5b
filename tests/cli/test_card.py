"""`paramgen card`: the card again, with pictures; an edited card is nobody's to replace."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import paramgen
from paramgen.output.card import write_card
from paramgen.storage.seal import is_edited

if TYPE_CHECKING:
    from conftest import Command


@pytest.fixture
def folder(own: Path, tmp_path: Path) -> Path:
    paramgen.write(f"{own}:build", tmp_path / "out", overrides={"width": 4}, init="library", verify=False)
    return tmp_path / "out"


def test_the_card_is_remade_from_the_folder_alone(folder: Path, own: Path) -> None:
    card = (folder / "README.md").read_text()
    (folder / "README.md").unlink()
    own.unlink()
    assert write_card(folder) == {"README.md": len(card.encode())}
    assert (folder / "README.md").read_text() == card


def test_pictures(command: "Command", folder: Path) -> None:
    pytest.importorskip("matplotlib")
    done = command("card", "out", "--pictures", "--repo", "org/name", "--json")
    assert done.status == 0 and not done.err
    files = json.loads(done.out)["files"]
    assert set(files) == {
        "README.md",
        *(f"figures/{name}" for name in ("distributions.png", "spectra.png", "graph.svg")),
    }
    assert files == {file: (folder / file).stat().st_size for file in files}
    card = (folder / "README.md").read_text()
    assert all(f"]({file})" in card for file in files if file != "README.md")
    assert "from own import build" in card and "snapshot_download('org/name')" in card
    assert "<svg" in (folder / "figures" / "graph.svg").read_text()
    assert command("card", "out", "--quiet").status == 0  # ours, so it may be replaced
    assert command("check", "out").status == 0


def test_a_network_that_cannot_be_rebuilt_has_no_picture_of_its_graph(folder: Path, own: Path) -> None:
    pytest.importorskip("matplotlib")
    own.write_text("raise SystemExit('not to be run')")
    assert "figures/graph.svg" not in write_card(folder, pictures=True)
    assert "no picture of its graph" in (folder / "README.md").read_text()


def test_an_edited_card_is_kept(command: "Command", folder: Path) -> None:
    file = folder / "README.md"
    file.write_text(edited := file.read_text().replace("## Limits", "## My own words"))
    assert is_edited(edited) and "--overwrite" in command("card", "out").refusal
    assert file.read_text() == edited and command("check", "out").status == 0
    assert command("card", "out", "--overwrite").status == 0 and not is_edited(file.read_text())


def test_an_edited_picture_is_kept(command: "Command", folder: Path) -> None:
    pytest.importorskip("matplotlib")
    assert command("card", "out", "--pictures", "--quiet").status == 0
    drawn = {file.name: file.read_bytes() for file in (folder / "figures").iterdir()}
    card = (folder / "README.md").read_text()
    assert command("card", "out", "--pictures", "--quiet").status == 0  # as our card names them
    assert command("card", "out", "--quiet").status == 0  # which names none of them any more
    assert command("card", "out", "--pictures", "--quiet").status == 0  # the same are drawn again
    (folder / "figures" / "graph.svg").write_text(mine := "<svg><!-- my own --></svg>")
    refused = command("card", "out", "--pictures").refusal
    assert "graph.svg' was edited" in refused and "--overwrite" in refused
    assert (folder / "figures" / "graph.svg").read_text() == mine and (folder / "README.md").read_text() == card
    assert command("card", "out", "--pictures", "--overwrite").status == 0
    assert {file.name: file.read_bytes() for file in (folder / "figures").iterdir()} == drawn


@pytest.mark.parametrize("name", ["README.md", "figures", "figures/graph.svg"])
def test_links_lead_nowhere(command: "Command", folder: Path, tmp_path: Path, name: str) -> None:
    (target := tmp_path / "elsewhere").mkdir()
    (folder / "README.md").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(target)
    assert "is a link" in command("card", "out", "--pictures", "--overwrite").refusal
    assert not list(target.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("nowhere",), "There is no folder"), (("empty",), "no paramgen.json"), (("out", "--repo", "a b"), "org/name")],
)
def test_refusals(command: "Command", folder: Path, tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "empty").mkdir()
    assert told in command("card", *arguments).refusal


def test_a_foreign_record_is_refused(command: "Command", folder: Path) -> None:
    (folder / "paramgen.json").write_text('{"source": ["x"], "tensors": {}}')
    assert "Predict the folder again" in command("card", "out").refusal


def test_help_names_the_extra_whole(command: "Command") -> None:
    assert "'.[pictures]'" in "".join(command("card", "--help").out.split())  # brackets are markup, too
