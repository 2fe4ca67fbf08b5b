"""`python -m checkpoints`: errors in one line, JSON alone, and a contact sheet that shows what it says."""

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from checkpoints.__main__ import app
from checkpoints.recipes import smoke
from checkpoints.sheet import MAGNIFIED, SheetRow, sheet
from checkpoints.train import read_edit_tasks, train_zoo
from paramgen.zoo import Zoo


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoos") / "zoo"
    train_zoo("smoke", smoke.config(), "drawn", folder, resume=False, ray=False, report=lambda *_: None)
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train-zoo", "foto", "--data", "drawn", "--out", "out"), "Did you mean 'photos'?"),
        (("train-zoo", "smoke", "--data", "nowhere", "--out", "out"), "--data nowhere does not exist."),
        (("index", "nowhere"), "is no zoo: it has no zoo.json"),
        (("verify", "nowhere"), "is no zoo: it has no zoo.json"),
        (("sheet", "nowhere", "--data", "drawn", "--out", "sheet.png"), "is no zoo: it has no zoo.json"),
    ],
)
def test_an_error_is_one_line_and_leaves_nothing(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*arguments)
    line = done.stderr.strip().splitlines()[-1]
    assert done.exit_code == 2 and line.startswith("error: ") and message in line and "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_verify_ends_with_two_where_something_is_damaged(zoo: Path, tmp_path: Path) -> None:
    done = run("verify", zoo, "--data", "drawn", "--samples", 2, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["measured"] == 2
    shard = zoo / "shards" / "00001.safetensors"
    content = shard.read_bytes()
    try:
        shard.write_bytes(content[:-4])
        damaged = run("verify", zoo)
        assert damaged.exit_code == 2 and "checkpoints are not what the table says" in damaged.stderr
    finally:
        shard.write_bytes(content)


def test_the_sheet_has_a_row_for_each_task_and_shows_predictions(zoo: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    task = next(task for task in read_edit_tasks(zoo) if task.split == "test")
    (tmp_path / "predicted" / task.id).mkdir(parents=True)
    save_file(Zoo.open(zoo).base_state, tmp_path / "predicted" / task.id / "diffusion_pytorch_model.safetensors")
    options = ("--data", "drawn", "--steps", 1, "--count", 1, "--json")
    done = run("sheet", zoo, *options, "--predicted", tmp_path / "predicted", "--out", tmp_path / "sheet.png")
    assert done.exit_code == 0, done.output
    distances = json.loads(done.stdout)["distances"]
    assert distances.keys() == {"from scratch", "base checkpoint", "predicted"}
    assert distances["predicted"] == distances["base checkpoint"] != distances["from scratch"]
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.height > 32 * MAGNIFIED and len(picture.convert("RGB").getcolors(1 << 24) or ()) > 500
    wrong = run("sheet", zoo, *options, "--predicted", tmp_path / "none", "--out", tmp_path / "none.png")
    assert wrong.exit_code == 2 and not (tmp_path / "none.png").exists()


def test_a_cell_is_where_its_column_says() -> None:
    import torch

    cells = {"dark": torch.full((3, 8, 8), -1.0), "light": torch.full((3, 8, 8), 1.0)}
    drawn = sheet([SheetRow(text="one two", cells=cells)], ["light", "none", "dark"])
    row = [drawn.getpixel((x, drawn.height - 20)) for x in range(250, drawn.width, 8 * MAGNIFIED + 8)]
    assert row == [(255, 255, 255), (0xDD, 0xDD, 0xDD), (0, 0, 0)]
