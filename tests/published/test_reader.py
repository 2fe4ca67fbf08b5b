from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from paramgen.errors import ForeignError, ParamgenError
from paramgen.published.convert import load
from paramgen.published.reader import ForeignFile, read
from paramgen.published.tensors import ForeignTensor
from tests.support.published import hostile, published


@pytest.fixture
def put(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "checkpoint.pt"
        path.write_bytes(data)
        return path

    return write


def content_of(path: Path) -> dict[str, Tensor]:
    content = read(path).content
    assert isinstance(content, dict)
    return {key: value.tensor() for key, value in content.items() if isinstance(value, ForeignTensor)}


STATE = {
    "matrix": torch.arange(12.0).view(3, 4),
    "turned": torch.arange(6.0).view(2, 3).t(),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "counts": torch.tensor([1, 2, 3]),
    "scalar": torch.tensor(3.5),
    "nothing": torch.empty(0, 4),
}


@pytest.mark.parametrize("form", [hostile.saved, lambda state: hostile.saved(state, older=True)], ids=["zip", "stream"])
def test_what_torch_saved_is_read(form: Callable[[object], bytes], put: Callable[[bytes], Path]) -> None:
    back = content_of(put(form({**STATE, "view": STATE["matrix"][1:, 1:]})))
    assert back.keys() == {*STATE, "view"}
    for key, value in STATE.items():
        assert back[key].dtype == value.dtype
        assert torch.equal(back[key], value)
    assert torch.equal(back["view"], STATE["matrix"][1:, 1:])


def test_what_joblib_dumped_is_read(put: Callable[[bytes], Path]) -> None:
    back = content_of(put(hostile.dumped(STATE)))
    assert all(torch.equal(back[key], value) for key, value in STATE.items())


def test_what_surrounds_the_tensors_of_a_training_run_is_read(put: Callable[[bytes], Path]) -> None:
    namespace = (
        hostile.named("argparse", "Namespace")
        + b")\x81"
        + hostile.mapping({"lr": b"G" + b"\x3f\xe0" + bytes(6)})
        + b"b"
    )
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    run = {"state_dict": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "names": {"a", "b"}}
    content = read(put(hostile.saved(run))).content
    assert isinstance(content, dict)
    assert content["epoch"] == 3
    assert content["names"] == {"a", "b"}
    assert content["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.999)
    assert torch.equal(content["state_dict"]["0.weight"].tensor(), model.state_dict()["0.weight"])
    assert read(put(hostile.program(namespace))).content == {"lr": 0.5}


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ForeignError, match="is no file"):
            read(path)


def mutated(data: bytes, changes: list[tuple[int, int, int]]) -> bytes:
    """Change, remove or insert bytes."""
    changed = bytearray(data)
    for kind, place, byte in changes:
        place %= len(changed)
        if kind == 0:
            changed[place] = byte
        elif kind == 1:
            del changed[place : place + 1 + byte % 8]
        else:
            changed[place:place] = bytes([byte])
        changed = changed or bytearray(b".")
    return bytes(changed)


CHANGES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=4)
SMALL = {"a": torch.ones(2), "b": torch.zeros(1, 3)}
SEEDS = {
    "dumped": hostile.dumped(SMALL),
    "saved": hostile.saved({"state_dict": SMALL, "config": {"hid": 8}, "epoch": 1}),
    "stream": hostile.saved({"state_dict": SMALL, "epoch": 1}, older=True),
}


@pytest.mark.parametrize("form", SEEDS)
@given(changes=CHANGES)
@hypothesis_settings(max_examples=150)
def test_damage_is_refused_or_harmless(
    form: str, changes: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    path.write_bytes(mutated(SEEDS[form], changes))
    try:
        content = read(path).content
    except ForeignError as error:
        assert "\n" not in str(error)
        return
    if isinstance(content, dict):
        for value in content.values():
            if isinstance(value, ForeignTensor):
                value.tensor()


LOGAH_RUN = hostile.saved(
    {"config": published.LOGAH_CONFIG, "state_dict": published.drawn(published.logah(language=True))}
)
TAIL = 12_000  # the instructions and the table of contents of an archive stand at its ends


@given(changes=CHANGES, at_end=st.booleans())
@hypothesis_settings(max_examples=60)
def test_a_damaged_checkpoint_is_refused_or_loads(
    changes: list[tuple[int, int, int]], at_end: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    head, tail = LOGAH_RUN[:-TAIL], LOGAH_RUN[-TAIL:]
    data = head + mutated(tail, changes) if at_end else mutated(LOGAH_RUN[:TAIL], changes) + LOGAH_RUN[TAIL:]
    path = tmp_path_factory.getbasetemp() / "damaged_run.pt"
    path.write_bytes(data)
    try:
        source: ForeignFile = read(path)
        assert load(source).family.name == "logah"
    except ParamgenError as error:
        assert "\n" not in str(error)
