"""A folder or file appears whole or not at all, and nothing that is not ours is ever replaced."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path

import pytest

from paramgen.errors import OutputError
from paramgen.storage import folder as module
from paramgen.storage.folder import MARK, checked_target, transaction, write_text
from paramgen.storage.unaltered import digests_of


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def fill(folder: Path, content: str, *more: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text(content)
    for name in more:
        (folder / name).write_text("")
    (folder / MARK).write_text(json.dumps({"digests": digests_of(folder)}))


def filled(content: str, *more: str) -> dict[str, str]:
    texts = {"sub/file": content, **dict.fromkeys(more, "")}
    digests = {name: sha256(text.encode()).hexdigest() for name, text in sorted(texts.items())}
    return {MARK: json.dumps({"digests": digests}), **texts}


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("there", [False, True], ids=["absent", "empty"])
def test_a_folder_appears_when_the_block_ends(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "a" / "b" / "out"
    if there:
        target.mkdir(parents=True)
    with transaction(target) as partial:
        fill(partial, "new")
        assert partial.parent == target.parent
        assert partial.name.startswith(f".out.partial-{os.getpid()}-")
        assert not there or list(target.iterdir()) == []
    assert tree(tmp_path / "a") == {f"b/out/{name}": content for name, content in filled("new").items()}
    assert os.listdir(target.parent) == ["out"]
    assert target.stat().st_mode == target.parent.stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("there", [False, True], ids=["absent", "ours"])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException], there: bool) -> None:
    target = tmp_path / "a" / "b" / "out"
    if there:
        target.mkdir(parents=True)
        fill(target, "old")
    with pytest.raises(error), transaction(target, overwrite=True) as partial:
        fill(partial, "new")
        raise error
    assert os.listdir(tmp_path) == (["a"] if there else [])
    if there:
        assert os.listdir(target.parent) == ["out"]
        assert tree(target) == filled("old")


def test_parents_that_were_there_or_were_filled_meanwhile_stay(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match="x"), transaction(tmp_path / "a" / "b" / "c" / "out"):
        (tmp_path / "a" / "b" / "mine").write_text("kept")
        raise ValueError("x")
    assert tree(tmp_path) == {"a/b/mine": "kept"}
    assert os.listdir(tmp_path / "a" / "b") == ["mine"]


@pytest.fixture(params=["exchange", "two renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    return request.param


def test_overwriting_replaces_our_folder_whole(tmp_path: Path, way: str) -> None:
    target = tmp_path / "out"
    for content in ("old", "new"):
        with transaction(target, overwrite=True) as partial:
            fill(partial, content, content)
            assert content == "old" or "old" in os.listdir(target)
    assert tree(target) == filled("new", "new")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux")
def test_linux_swaps_folders_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert module._exchange(tmp_path / "one", tmp_path / "other")
    assert os.listdir(tmp_path / "one") == ["other"]
    assert not module._exchange(tmp_path / "one", tmp_path / "absent")


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    fill(target, "old")
    rename = Path.rename

    def failing(self: Path, other: Path) -> Path:
        if other == target and (self / "new").exists():
            raise KeyboardInterrupt
        return rename(self, other)

    monkeypatch.setattr(module, "_exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt), transaction(target, overwrite=True) as partial:
        (partial / "new").touch()
    assert tree(target) == filled("old")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda out: (out / "thesis.tex").write_text("precious"), "'thesis.tex'"),
        (lambda out: (out / "notes").mkdir(), "'notes'"),
        (lambda out: (out / "sub" / "file").write_text("mine"), "'sub/file'"),
        (lambda out: (out / "sub" / "more").symlink_to("/etc/hostname"), "'sub/more'"),
        (lambda out: (out / MARK).write_text("{}"), "'sub/file'"),
        (lambda out: (out / MARK).write_text("[" * 10**5), "'sub/file'"),
        (lambda out: [(out / f"{number}").touch() for number in range(9)], "'0', '1', '2' and 6 more"),
        (lambda out: (out / "README.md").write_text("my own words"), "'README.md'"),
    ],
)
def test_what_is_somebodys_is_never_overwritten(tmp_path: Path, harm: Callable[[Path], object], named: str) -> None:
    target = tmp_path / "out"
    with transaction(target) as partial:
        fill(partial, "old")
    harm(target)
    before = tree(target)
    refuses(lambda: transaction(target, overwrite=True), f"did not write, or not so: {named}")
    assert tree(target) == before


def test_what_comes_while_the_work_is_done_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with transaction(target) as partial:
        fill(partial, "old")
    with pytest.raises(OutputError, match=r"'thesis\.tex'"), transaction(target, overwrite=True) as partial:
        fill(partial, "new")
        (target / "thesis.tex").write_text("precious")
    assert tree(target) == {**filled("old"), "thesis.tex": "precious"}
    assert os.listdir(tmp_path) == ["out"]


def refuses(work: Callable[[], AbstractContextManager[Path]], match: str) -> None:
    with pytest.raises(OutputError, match=match) as caught, work():
        pytest.fail("the work began")
    assert "\n" not in str(caught.value)


def test_what_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "home"
    target.mkdir()
    (target / "thesis").write_text("precious")
    refuses(lambda: transaction(target), "is not empty.*overwrite=True")
    refuses(lambda: transaction(target, overwrite=True), rf"not written by paramgen: it has no {MARK}")
    file = tmp_path / "file"
    file.write_text("precious")
    refuses(lambda: transaction(file, overwrite=True), "is a file")
    refuses(lambda: transaction(file / "out", overwrite=True), "Not a directory")
    (target / MARK).write_text("")
    refuses(lambda: transaction(target), "is not empty.*overwrite=True")
    assert tree(tmp_path) == {"home/thesis": "precious", f"home/{MARK}": "", "file": "precious"}


def test_a_folder_filled_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with pytest.raises(OutputError, match="not empty"), transaction(target) as partial:
        fill(partial, "new")
        target.mkdir()
        fill(target, "other")
    assert tree(target) == filled("other")
    assert os.listdir(tmp_path) == ["out"]


def test_the_current_folder_and_mounted_disks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    refuses(lambda: transaction(Path(".")), "holds the current folder")
    refuses(lambda: transaction(tmp_path), "holds the current folder")
    refuses(lambda: transaction(Path("/")), "mounted disk")


def test_a_link_leads_to_the_folder_it_means(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    with transaction(tmp_path / "out") as partial:
        fill(partial, "new")
    assert (tmp_path / "out").is_symlink()
    assert tree(tmp_path / "disk" / "real") == filled("new")


def test_a_parent_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("root may write everywhere")
    refuses(lambda: transaction(tmp_path / "out"), "Permission denied")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that even root cannot write")
def test_a_parent_that_nobody_may_write() -> None:
    refuses(lambda: transaction(Path("/proc/out")), r"Cannot write '/proc/out': \w.*Pass another place")
    with pytest.raises(OutputError, match="Cannot write '/proc/g.json'"):
        write_text(Path("/proc/g.json"), "{}")


def test_only_errors_about_disk_or_folder_are_ours(tmp_path: Path) -> None:
    for number in (28, 122, 27, 5):
        with pytest.raises(OutputError, match=os.strerror(number)), transaction(tmp_path / "out"):
            raise OSError(number, os.strerror(number))
    with pytest.raises(OutputError, match="No such file"), transaction(tmp_path / "out") as partial:
        (partial / "absent" / "file").write_text("")
    with pytest.raises(ConnectionError), transaction(tmp_path / "out"):
        raise ConnectionError("the Hub is down")
    assert os.listdir(tmp_path) == []


def test_what_dead_processes_left_is_removed(tmp_path: Path, dead: int) -> None:
    host = module._host()
    stale = [f".out.partial-{dead}-{host}-00ff", f".out.partial-{dead}-{host}-01"]
    kept = [
        f".out.partial-{os.getpid()}-{host}-00ff",  # at work
        f".out.partial-1-{host}-00ff",  # somebody else's
        f".out.partial-{dead}-elsewhere-00ff",  # on another computer that shares the disk
        f".other.partial-{dead}-{host}-00ff",  # for another target
        f".out.partial-{dead}-{host}-notes",  # not a name of ours
    ]
    for name in stale + kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    with transaction(tmp_path / "out"):
        pass
    assert set(os.listdir(tmp_path)) == {"out", *kept}


@pytest.mark.parametrize(
    "name", ["n" * 255, "\u00e9" * 127, "o" * 65], ids=["letters", "two bytes each", "just too long"]
)
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path, dead: int, name: str) -> None:
    stale = tmp_path / f"{module.hidden_name(name)}.partial-{dead}-{module._host()}-00"
    stale.mkdir()
    with transaction(tmp_path / name) as partial:
        fill(partial, "old")
    with transaction(tmp_path / name, overwrite=True) as partial:
        fill(partial, "new")
    write_text(tmp_path / "files" / name, "text")
    assert sorted(os.listdir(tmp_path)) == sorted(["files", name])
    assert tree(tmp_path / name) == filled("new") and (tmp_path / "files" / name).read_text() == "text"


def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path) -> None:
    for target in (tmp_path / ("n" * 256), tmp_path / "absent" / ("\u00e9" * 128) / "out"):
        with pytest.raises(OutputError, match="256 bytes; here a name may have 255"):
            checked_target(target)
        with pytest.raises(OutputError, match="Pass a shorter name"):
            write_text(target, "text")
    assert os.listdir(tmp_path) == []


def test_two_long_names_have_two_hidden_ones() -> None:
    assert module.hidden_name("n" * 100 + "a") != module.hidden_name("n" * 100 + "b")


def test_a_file_is_written_whole(tmp_path: Path, dead: int) -> None:
    (tmp_path / f".g.json.partial-{dead}-{module._host()}-00").touch()
    target = tmp_path / "a" / "g.json"
    write_text(target, "old\n")
    write_text(target, "é\r\nnew\n")
    assert target.read_bytes() == "é\r\nnew\n".encode()
    write_text(tmp_path / "g.json", "{}")
    assert sorted(os.listdir(tmp_path)) == ["a", "g.json"]
    assert os.listdir(tmp_path / "a") == ["g.json"]


def test_a_file_that_cannot_be_written_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "g.json"
    write_text(target, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for path in (target, tmp_path / "a" / "b" / "g.json"):
        with pytest.raises(OutputError, match=r"g\.json': No space left on device\. Pass"):
            write_text(path, "new")
    assert tree(tmp_path) == {"g.json": "old"}
    assert os.listdir(tmp_path) == ["g.json"]


@pytest.mark.parametrize("path", ["", "/dev/null"])
def test_a_place_that_is_no_regular_file(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        write_text(tmp_path / path, "text")
    assert not Path("/dev/null").is_file()


def test_a_target_can_be_checked_before_any_work(tmp_path: Path) -> None:
    assert checked_target(tmp_path / "x" / ".." / "out") == Path(os.path.realpath(tmp_path)) / "out"
    assert os.listdir(tmp_path) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not empty"):
        checked_target(tmp_path)


def test_what_somebody_in_another_container_works_at_is_left_alone(tmp_path: Path, dead: int) -> None:
    """His process has no number here; his lock is seen."""
    import fcntl

    theirs = tmp_path / f".out.partial-{dead}-{module._host()}-00000000"
    theirs.mkdir()
    (theirs / "weights").write_text("half")
    descriptor = os.open(theirs, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with transaction(tmp_path / "out") as partial:
        fill(partial, "new")
    assert (theirs / "weights").is_file()
    os.close(descriptor)
    with transaction(tmp_path / "out", overwrite=True) as partial:
        fill(partial, "new")
    assert not theirs.exists()


def test_a_folder_at_work_is_locked(tmp_path: Path) -> None:
    with transaction(tmp_path / "out") as partial:
        assert module._is_locked(partial)
    assert not module._is_locked(tmp_path / "out")
