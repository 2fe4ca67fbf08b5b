"""A zoo is read whole, and what is bad in it is skipped by name without loss of the rest."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from checkpoints.index import index
from checkpoints.writing import write_layout, write_shard
from paramgen.errors import ZooError
from paramgen.zoo import Row, Zoo, ZooLayout, restore
from paramgen.zoo.hashes import content_sha256
from paramgen.zoo.low_rank import LEFT, RIGHT, first_factors

CONFIG = {"in_channels": 3}
BASE = {"conv.weight": torch.ones(4, 3, 3, 3), "conv.bias": torch.zeros(4), "out.weight": torch.ones(2, 4)}
LAYOUT = ZooLayout(
    spec="diffusers:UNet2DModel",
    config=CONFIG,
    kind="translation",
    form="low_rank",
    rank=2,
    alpha=4.0,
    targets=("conv.weight", "out.weight"),
    trained=("conv.bias",),
)
SHARDS = ("00000.safetensors", "00001.safetensors")


def checkpoint(number: int) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(number)
    shapes = {"conv.weight" + RIGHT: (2, 27), "conv.weight" + LEFT: (4, 2), "conv.bias": (4,)}
    shapes |= {"out.weight" + RIGHT: (2, 4), "out.weight" + LEFT: (2, 2)}
    return {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}


def row(number: int, tensors: dict[str, Tensor], shard: str) -> Row:
    return Row(
        id=f"task-{number}",
        task="task",
        split="train",
        texts=("a task", "some task"),
        seed=0,
        steps=7,
        shard=shard,
        form="low_rank",
        metrics={"distance": 0.5},
        licence="Apache-2.0",
        source="test",
        revision="0",
        architecture_sha256=LAYOUT.architecture_sha256,
        content_sha256=content_sha256(tensors),
    )


def write(folder: Path, change: Callable[[int, Row, dict[str, Tensor]], Row] | None = None) -> Path:
    """Write four checkpoints in two shards; `change` may spoil one."""
    write_layout(folder, LAYOUT, BASE)
    for shard_number, shard in enumerate(SHARDS):
        made = []
        for number in (2 * shard_number, 2 * shard_number + 1):
            tensors = checkpoint(number)
            own = row(number, tensors, shard)
            made.append((own if change is None else change(number, own, tensors), tensors))
        write_shard(folder, shard, made)
    index(folder)
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    zoo = Zoo.open(write(tmp_path))
    assert [row.id for row in zoo.rows] == [f"task-{number}" for number in range(4)] and not zoo.skipped
    assert zoo.layout == LAYOUT and zoo.rows[0].texts == ("a task", "some task")
    for number, (_, tensors) in enumerate(zoo.states()):
        wanted = checkpoint(number)
        assert tensors.keys() == wanted.keys() and all(torch.equal(tensors[name], wanted[name]) for name in wanted)


def test_restoring_moves_the_base_by_the_product_of_the_factors(tmp_path: Path) -> None:
    tensors = checkpoint(0)
    state = Zoo.open(write(tmp_path)).restore("task-0")
    assert {name: each.shape for name, each in state.items()} == {name: each.shape for name, each in BASE.items()}
    change = (tensors["conv.weight" + LEFT] @ tensors["conv.weight" + RIGHT]).reshape(4, 3, 3, 3)
    torch.testing.assert_close(state["conv.weight"], 1 + 2 * change)  # alpha / rank
    assert torch.equal(state["conv.bias"], tensors["conv.bias"])


def test_an_ensemble_is_restored_like_its_members() -> None:
    members = [checkpoint(number) for number in range(3)]
    stacked = {name: torch.stack([member[name] for member in members]) for name in members[0]}
    together = restore(BASE, stacked, scale=2.0)
    for number, member in enumerate(members):
        for name, each in restore(BASE, member, scale=2.0).items():
            torch.testing.assert_close(together[name][number], each)


def test_the_first_factors_leave_the_base_as_it_is_and_are_the_same_for_all() -> None:
    first = first_factors(BASE, LAYOUT.targets, rank=2, seed=0)
    again = first_factors(BASE, reversed(LAYOUT.targets), rank=2, seed=0)
    assert all(torch.equal(first[name], again[name]) for name in first)
    state = restore(BASE, first, scale=2.0)
    assert all(torch.equal(state[name], BASE[name]) for name in BASE)


def spoiled(what: str) -> Callable[[int, Row, dict[str, Tensor]], Row]:
    def change(number: int, own: Row, tensors: dict[str, Tensor]) -> Row:
        if number != 2:
            return own
        if what == "nan":
            tensors["conv.bias"][1] = torch.nan
        elif what == "shape":
            tensors["conv.bias"] = torch.zeros(5)
        elif what == "missing":
            del tensors["conv.bias"]
        elif what == "integers":
            tensors["conv.bias"] = torch.zeros(4, dtype=torch.int64)
        elif what == "hash":
            tensors["conv.bias"][0] += 1
        elif what == "architecture":
            return replace(own, architecture_sha256="0" * 64)
        return own

    return change


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nan", "not finite in 'conv.bias'"),
        ("shape", "is (5,), the architecture's is (4,)"),
        ("missing", "no tensor 'conv.bias'"),
        ("integers", "is I64"),
        ("hash", "its hash differs"),
        ("architecture", "another than the zoo's"),
    ],
)
def test_a_bad_checkpoint_is_skipped_by_name(tmp_path: Path, what: str, reason: str) -> None:
    zoo = Zoo.open(write(tmp_path, spoiled(what)))
    assert [row.id for row, _ in zoo.states()] == ["task-0", "task-1", "task-3"]
    assert [skipped.id for skipped in zoo.skipped] == ["task-2"] and reason in zoo.skipped[0].reason


def test_a_truncated_or_absent_shard_costs_its_own_checkpoints(tmp_path: Path) -> None:
    first, second = (write(tmp_path) / "shards" / name for name in SHARDS)
    second.write_bytes(second.read_bytes()[:-100])
    zoo = Zoo.open(tmp_path)
    assert [row.id for row in zoo.rows] == ["task-0", "task-1"]
    assert [each.id for each in zoo.skipped] == ["task-2", "task-3"] and "not a whole" in zoo.skipped[0].reason
    first.unlink()
    with pytest.raises(
        ZooError, match="no checkpoint that can be used; the first, task-0: 00000.safetensors is not there"
    ):
        Zoo.open(tmp_path)


def test_a_pickle_in_place_of_a_shard_is_not_opened(tmp_path: Path) -> None:
    shard = write(tmp_path) / "shards" / SHARDS[1]
    shard.write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")
    zoo = Zoo.open(tmp_path)
    assert len(zoo.rows) == 2 and "not a whole safetensors file" in zoo.skipped[0].reason
    assert not Path("owned").exists()


def test_the_index_leaves_out_what_has_no_licence_or_is_there_already(tmp_path: Path) -> None:
    def change(number: int, own: Row, tensors: dict[str, Tensor]) -> Row:
        if number == 1:
            return replace(own, licence=" ")
        if number == 3:
            tensors.update(checkpoint(0))
            return replace(own, content_sha256=content_sha256(tensors))
        return own

    write(tmp_path, change)
    count, skipped = index(tmp_path)
    assert count == 2 and [(each.id, each.reason) for each in skipped] == [
        ("task-1", "it has no licence"),
        ("task-3", "it is the same as task-0"),
    ]
    assert [row.id for row in Zoo.open(tmp_path).rows] == ["task-0", "task-2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "has the format_version 2; paramgen reads 1"),
        ({"form": "sparse"}, "form is 'sparse'; allowed are full, low_rank"),
        ({"rank": 10**9}, "rank is 1000000000"),
        ({"alpha": float("nan")}, "alpha is nan"),
        ({"base": "../base.safetensors"}, "must name a safetensors file of the folder"),
        ({"targets": ["nowhere"], "trained": []}, "names the slot 'nowhere', which the base lacks"),
        ({"trained": ["conv.weight"]}, "stands twice"),
        ({"architecture": 3}, "architecture is int"),
    ],
)
def test_a_hostile_layout_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = write(tmp_path) / "zoo.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ZooError, match=message.replace("(", r"\(")) as caught:
        Zoo.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_zoo_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="is no zoo: it has no zoo.json"):
        Zoo.open(tmp_path)
    write(tmp_path)
    table = tmp_path / "index.parquet"
    table.write_bytes(table.read_bytes()[:50])
    with pytest.raises(ZooError, match="is no table that can be read"):
        Zoo.open(tmp_path)
    table.unlink()
    with pytest.raises(ZooError, match="Run: python -m checkpoints index"):
        Zoo.open(tmp_path)


def test_a_base_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    base = write(tmp_path) / "base.safetensors"
    tensors = load_file(base)
    tensors["conv.bias"][0] = torch.inf
    save_file(tensors, base)
    with pytest.raises(ZooError, match="not finite in 'conv.bias'"):
        Zoo.open(tmp_path)


def test_datasets_reads_the_table(tmp_path: Path) -> None:
    from datasets import Dataset

    table = Dataset.from_parquet(str(write(tmp_path) / "index.parquet"), cache_dir=str(tmp_path / "cache"))
    assert table[3]["texts"] == ["a task", "some task"] and json.loads(table[3]["metrics"]) == {"distance": 0.5}


@pytest.mark.parametrize("rows", [3_000, 300_000])
def test_a_table_that_grows_when_it_is_read_is_refused(tmp_path: Path, rows: int) -> None:
    """One text of the file stands in every row: 4 kB that would take a gigabyte, or a hundred."""
    import pyarrow
    from pyarrow import parquet

    from paramgen.zoo import table as module

    one = row(0, checkpoint(0), SHARDS[0]).to_json()
    columns = {name: pyarrow.array([value] * rows) for name, value in one.items()}
    columns["task"] = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * rows, type=pyarrow.int32()), pyarrow.array(["x" * (10 * module.MAX_ZOO_TEXT)])
    )
    parquet.write_table(pyarrow.table(columns), tmp_path / module.TABLE_FILE, compression="zstd")
    with pytest.raises(ZooError, match="a text of more than"):
        module.read_rows(tmp_path)


def test_what_a_table_would_take_is_limited_by_its_footer_and_by_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow
    from pyarrow import parquet

    from paramgen.zoo import table as module

    one = row(0, checkpoint(0), SHARDS[0]).to_json()
    parquet.write_table(pyarrow.Table.from_pylist([one] * 500), tmp_path / module.TABLE_FILE)
    assert len(module.read_rows(tmp_path)) == 500
    size = (tmp_path / module.TABLE_FILE).stat().st_size
    monkeypatch.setattr(module, "MAX_TABLE_BYTES", size)
    with pytest.raises(ZooError, match=r"bytes or .* rows once it is read"):
        module.read_rows(tmp_path)
    monkeypatch.setattr(module, "MAX_TABLE_COLUMNS", 5)
    with pytest.raises(ZooError, match="columns in"):
        module.read_rows(tmp_path)


def test_a_table_of_other_kinds_of_columns_is_refused(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    from paramgen.zoo import table as module

    one = row(0, checkpoint(0), SHARDS[0]).to_json() | {"task": {"a": [[1.5]]}}
    parquet.write_table(pyarrow.Table.from_pylist([one]), tmp_path / module.TABLE_FILE)
    with pytest.raises(ZooError):
        module.read_rows(tmp_path)
