"""No reader of files waits for a pipe: what is no regular file is refused in one line, whatever it is called."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
import torch
from safetensors.torch import save_file

import paramgen
from paramgen.architectures.processors import read_tokenizer
from paramgen.comparison.data import open_data
from paramgen.comparison.data.text import read_texts
from paramgen.errors import CheckError, OptionError, OutputError, ParamgenError
from paramgen.fields.storage import read_field
from paramgen.hub.trained import Trained
from paramgen.hypernets.storage import read_weights
from paramgen.images.batch import image_files
from paramgen.images.tars import members
from paramgen.modelcard.card_data import known_of
from paramgen.output.card import write_card
from paramgen.output.names import elements_of
from paramgen.published.reader import read
from paramgen.storage.reading import stored
from paramgen.storage.regular import refuse_irregular
from paramgen.zoo.reading import _header, _whole
from paramgen.zoo.table import read_rows

NOBODY: Final = 65534
# A process of its own: what is compiled may wait for a pipe without letting another thread of ours run.
WATCHER: Final = """
import os, select, sys
while not select.select([sys.stdin], [], [], 0.005)[0]:
    try:
        os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK))  # lets go who waits, with an end of file
        print("opened", flush=True)
    except OSError:  # nobody has opened it
        pass
"""


@contextmanager
def unread(path: Path) -> Iterator[None]:
    """Make a pipe, and fail if somebody opens it meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    arguments = [sys.executable, "-I", "-S", "-c", WATCHER, str(path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watch:
        try:
            yield
        finally:
            opened, _ = watch.communicate("")
    assert not opened, f"{path.name} was opened"


def trained(path: Path) -> Any:
    return Trained(path=str(path), init="weight_selection", what="larger model", advice="Type something.").tensors


READERS: Final[dict[str, tuple[str, Callable[[Path], Any]]]] = {
    "a text to compare on": ("notes.txt", lambda file: open_data(str(file))),
    "a tar to compare on": ("pictures.tar", lambda file: open_data(str(file))),
    "a tar": ("pictures.tar.gz", members),
    "a text for a tokenizer": ("notes.txt", read_texts),
    "a tokenizer": ("tokenizer.json", lambda file: read_tokenizer(str(file))),
    "a tokenizer's folder": ("tokenizer.json", lambda file: read_tokenizer(str(file.parent))),
    "a tokenizer's words": ("vocab.txt", lambda file: read_tokenizer(str(file.parent))),
    "weights": ("model.safetensors", lambda file: stored(file)),
    "a folder of weights": ("part.safetensors", lambda file: stored(file.parent)),
    "a trained model": ("some.safetensors", trained),
    "a hypernet's weights": ("model.safetensors", lambda file: read_weights(file, {"a": torch.zeros(1)})),
    "weights that are counted": ("model.safetensors", lambda file: elements_of(file.parent)),
    "a zoo's table": ("index.parquet", lambda file: read_rows(file.parent)),
    "a zoo's base": ("base.safetensors", _whole),
    "a published checkpoint": ("ghn.pt", read),
    "a field": ("photo.field", read_field),
}


@pytest.mark.parametrize("what", READERS)
def test_a_pipe_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    name, reader = READERS[what]
    with unread(tmp_path / "in" / name), pytest.raises(ParamgenError) as caught:
        reader(tmp_path / "in" / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.fixture
def ordinary() -> Iterator[Path]:
    """A folder of somebody who may not read everything, as the administrator of a machine may."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        administrator = os.geteuid() == 0
        if administrator:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if administrator:
                os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="no other users here")
@pytest.mark.parametrize("what", [what for what, (name, _) in READERS.items() if name.endswith(".safetensors")])
def test_weights_that_may_not_be_read_are_not_called_missing(what: str, ordinary: Path) -> None:
    name, reader = READERS[what]
    save_file({"a": torch.zeros(1)}, ordinary / name)
    (ordinary / name).chmod(0)
    with pytest.raises(ParamgenError, match=f"{name} cannot be read: Permission denied") as caught:
        reader(ordinary / name)
    assert "\n" not in str(caught.value)


def test_what_is_skipped_by_name_is_not_waited_for_either(tmp_path: Path) -> None:
    with unread(tmp_path / "one.safetensors"):
        assert "pipe" in str(_header(tmp_path / "one.safetensors"))
    with unread(tmp_path / "README.md"):
        assert known_of(tmp_path) == {}
    with unread(tmp_path / "in" / "a.png"), pytest.raises(OptionError, match="holds no image"):
        image_files(tmp_path / "in")


def test_a_predicted_folder_with_a_pipe_in_it_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    paramgen.write(torch.nn.Linear(3, 4), folder, init="library", verify=False)
    with unread(folder / "README.md"), pytest.raises(OutputError, match="README.md' was edited"):
        write_card(folder)
    with unread(folder / "model.safetensors"), pytest.raises(CheckError, match="model.safetensors"):
        paramgen.check(folder)


def test_sockets_and_devices_are_refused_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("line")
        with pytest.raises(OptionError, match="line is a socket; only regular files are read. Get another."):
            refuse_irregular(Path("line"), OptionError, "Get another.")
    (tmp_path / "linked").symlink_to("/dev/zero")
    with pytest.raises(OptionError, match="is a device"):
        refuse_irregular(tmp_path / "linked", OptionError)
    for fine in ("nowhere", "."):
        refuse_irregular(Path(fine), OptionError)
