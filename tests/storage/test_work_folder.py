"""A work folder outlives what kills its process, belongs to one work, and to one process at a time."""

from pathlib import Path

import pytest

from paramgen.errors import OutputError
from paramgen.storage.work_folder import work_folder


def test_the_same_work_finds_what_it_left(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with pytest.raises(KeyboardInterrupt), work_folder(target, {"steps": 3}) as work:
        (work.path / "part").write_text("half")
        raise KeyboardInterrupt
    with work_folder(target, {"steps": 3}) as work:
        assert (work.path / "part").read_text() == "half"
        work.end()
    assert not list(target.parent.iterdir())


def test_a_parent_that_was_made_goes_too(tmp_path: Path) -> None:
    with work_folder(tmp_path / "deep" / "out", {}) as work:
        work.end()
    assert not list(tmp_path.iterdir())


def test_other_work_is_refused_or_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with work_folder(target, {"steps": 3}) as work:
        (work.path / "part").write_text("half")
    with pytest.raises(OutputError, match="begun with another 'steps'"), work_folder(target, {"steps": 4}):
        pass
    with work_folder(target, {"steps": 4}, overwrite=True) as work:
        assert not (work.path / "part").exists()
    with work_folder(target, {"steps": 5}):  # nothing was done yet: nothing is lost
        pass


def test_two_processes_do_not_work_there_at_once(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path / "out", {}),
        pytest.raises(OutputError, match="Another process"),
        work_folder(tmp_path / "out", {}),
    ):
        pass


def test_settings_that_are_none_are_refused(tmp_path: Path) -> None:
    with work_folder(tmp_path / "out", {}) as work:
        (work.path / "settings.json").write_text("[]")
        (work.path / "part").write_text("half")
    with pytest.raises(OutputError, match="delete"), work_folder(tmp_path / "out", {}):
        pass
