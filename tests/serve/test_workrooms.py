"""Folders under way: locked while somebody writes them, removed when nobody does."""

import subprocess
import sys
from pathlib import Path

from serve.workrooms import PREFIX, remove_abandoned, workroom


def test_a_folder_under_way_is_kept_and_an_abandoned_one_is_not(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}left" / "start").mkdir(parents=True)
    (tmp_path / "others").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "others")
    (tmp_path / f"{PREFIX}file").touch()
    with workroom(tmp_path) as folder:
        (folder / "start").mkdir()
        remove_abandoned(tmp_path)
        assert (folder / "start").is_dir()
        assert not (tmp_path / f"{PREFIX}left").exists()
    assert not folder.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"others", f"{PREFIX}link", f"{PREFIX}file"}


def test_what_another_process_writes_is_kept_until_it_ends(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from serve.workrooms import workroom
with workroom(Path({str(tmp_path)!r})):
    print("made", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), 9)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        assert writer.stdout.readline() == b"made\n"
        remove_abandoned(tmp_path)
        assert len(list(tmp_path.iterdir())) == 1
        writer.stdin.close()
    assert len(list(tmp_path.iterdir())) == 1
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == []
