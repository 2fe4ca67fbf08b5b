"""A stranger's tar of images costs what it weighs: no bomb, no endless loop, no link, no traceback."""

import bz2
import gzip
import lzma
import os
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from paramgen.comparison.data import open_data
from paramgen.errors import OptionError
from paramgen.images import sets, tars
from paramgen.images.batch import image_files, load_images
from paramgen.images.folders import folder_images
from paramgen.images.sets import ImageSet, decoded

BLOCK = 512
END = b"\0" * 2 * BLOCK


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 40)).save(buffer, "PNG")
    return buffer.getvalue()


def padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // BLOCK) * BLOCK, b"\0")


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a member's header, with a size that `tarfile` itself would not write."""
    given = tarfile.TarInfo(name)
    given.type = kind
    block = bytearray(given.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    block[124:136] = b"%011o\0" % size if 0 <= size < 8**11 else (size % 256**12 | 0x80 << 88).to_bytes(12, "big")
    return summed(bytes(block))


def summed(block: bytes) -> bytes:
    spaces = block[:148] + b" " * 8 + block[156:]
    return block[:148] + b"%06o\0 " % sum(spaces) + block[156:]


def member(name: str) -> bytes:
    return header(name, len(picture())) + padded(picture())


GOOD = b"".join(member(f"train/{label}/{number}.png") for label in ("ant", "bee") for number in range(3))


def refusal(path: Path) -> str:
    with pytest.raises(OptionError) as caught:
        decoded(images(path), (3, 8, 8), train=100, test=100, folder=None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def images(path: Path) -> ImageSet:
    found = open_data(str(path))
    assert isinstance(found, ImageSet)
    return found


def tar(folder: Path, content: bytes, name: str = "it.tar") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("packed", "suffix"), [(gzip.compress, "gz"), (lzma.compress, "xz"), (bz2.compress, "bz2")])
def test_a_tar_may_not_become_far_more_than_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: object, suffix: str
) -> None:
    assert callable(packed)
    content = GOOD + header("big.bin", 50_000_000) + b"\0" * 50_000_000 + END
    path = tar(tmp_path, packed(content), f"it.tar.{suffix}")
    assert len(images(path).classes) == 2  # small ones may
    monkeypatch.setattr(tars, "_FREE_BYTES", 1_000_000)
    assert "unpacks to more than" in refusal(path)


def test_a_size_that_is_typed_and_not_there(tmp_path: Path) -> None:
    assert "unpacks to more than" in refusal(tar(tmp_path, GOOD + header("train/ant/x.png", 2**62) + END))


def test_members_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path, gzip.compress(GOOD + header("x", 0) * 1_000 + END), "it.tar.gz")
    images(path)
    monkeypatch.setattr(tars, "_FREE_MEMBERS", 100)
    assert "holds more than 1" in refusal(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
@pytest.mark.parametrize("size", [10_000_000, -BLOCK])
def test_a_header_takes_little_memory(tmp_path: Path, kind: bytes, size: int) -> None:
    content = GOOD + header("long", size, kind) + b"\0" * 20_000_000
    assert "has a header of" in refusal(tar(tmp_path, content))


def test_headers_of_headers_come_to_an_end(tmp_path: Path) -> None:
    chain = (header("x", 12, tarfile.XHDTYPE) + padded(b"12 path=abc\n")) * 3_000
    assert "cannot be read as a tar" in refusal(tar(tmp_path, GOOD + chain + header("train/ant/x.png", 0) + END))


def test_what_is_said_of_all_files_is_said_once(tmp_path: Path) -> None:
    records = b"".join(b"%d k%04d=v\n" % (11, number) for number in range(1_000))
    content = header("all", len(records), tarfile.XGLTYPE) + padded(records) + GOOD + END
    assert "things of all its files" in refusal(tar(tmp_path, content))


@pytest.mark.parametrize("back", [BLOCK, 2 * BLOCK, len(GOOD), 2**40])
def test_a_negative_size_is_no_endless_loop(tmp_path: Path, back: int) -> None:
    assert "ends before it begins" in refusal(tar(tmp_path, GOOD + header("train/ant/x.png", -back) + END))


def test_files_with_holes_are_refused(tmp_path: Path) -> None:
    given = tarfile.TarInfo("train/ant/x.png")
    content = padded(b"1\n19999999\n1\n") + b"x"
    given.size = len(content)
    given.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "20000000"}
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(given, BytesIO(content))
    assert "Pack it again without holes" in refusal(tar(tmp_path, GOOD + buffer.getvalue()))


def test_links_and_ways_out_are_not_taken(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture())
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for place, kind in enumerate((tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)):
            for target in (str(secret), "../secret.png", "train/ant/0.png"):
                link = tarfile.TarInfo(f"train/ant/{place}-{target.count('.')}{len(target)}.png")
                link.type, link.linkname = kind, target
                archive.addfile(link)
        for name in (str(secret), "train/../../secret.png", "/train/ant/out.png", ".", ""):
            given = tarfile.TarInfo(name)
            given.size = len(picture())
            archive.addfile(given, BytesIO(picture()))
    found = images(tar(tmp_path, GOOD + buffer.getvalue()))
    assert len(found.train.labels) + len(found.test.labels) == 6


def test_deep_and_long_names(tmp_path: Path) -> None:
    deep = "/".join("a" * 1_000)
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in [f"{deep}/{label}/{number}.png" for label in ("ant", "bee") for number in range(100)]:
            given = tarfile.TarInfo(name)
            given.size = len(picture())
            archive.addfile(given, BytesIO(picture()))
    assert images(tar(tmp_path, buffer.getvalue())).classes == ("ant", "bee")
    with tarfile.open(tmp_path / "long.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("train/" + 5_000 * "x"))
    assert "a name of 5,006 letters" in refusal(tmp_path / "long.tar")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    name = "train/ant/\udcff.png"
    assert "is not in UTF-8" in refusal(tar(tmp_path, GOOD + member(name) + END))
    for label in ("ant", "bee"):
        (tmp_path / "in" / label).mkdir(parents=True)
        (tmp_path / "in" / label / "1.png").write_bytes(picture())
    (tmp_path / "in" / "ant" / os.fsdecode(b"\xff.png")).write_bytes(picture())
    assert "is not in UTF-8" in refusal(tmp_path / "in")


@pytest.mark.parametrize(("packed", "suffix"), [(gzip.compress, "gz"), (lzma.compress, "xz"), (bz2.compress, "bz2")])
def test_a_damaged_tar_is_refused_in_a_line(tmp_path: Path, packed: object, suffix: str) -> None:
    assert callable(packed)
    content = packed(GOOD + header("noise.bin", 100_000) + os.urandom(100_000) + END)
    half = len(content) // 2
    assert "cannot be read as a tar" in refusal(tar(tmp_path, content[:half], f"short.tar.{suffix}"))
    damaged = tar(tmp_path, content[:half] + b"\xff" * 40 + content[half + 40 :], f"damaged.tar.{suffix}")
    try:
        images(damaged)  # of gzip, what is not compressed is checked at the end of the file only
    except OptionError as error:
        assert "cannot be read as a tar" in str(error) and "\n" not in str(error)


def test_a_tar_that_changes_under_way(tmp_path: Path) -> None:
    path = tar(tmp_path, GOOD + END)
    found = images(path)
    path.write_bytes(GOOD[: BLOCK + 10])
    with pytest.raises(OptionError, match=r"cannot be read as a tar: it ends too early|has 0 bytes"):
        decoded(found, (3, 8, 8), train=100, test=100, folder=None)


def test_links_in_class_folders(tmp_path: Path) -> None:
    """Links to files are followed, as collections are often made of them; loops, pipes and devices are not."""
    root = tmp_path / "in"
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for number in range(3):
            (root / label / f"{number}.png").write_bytes(picture())
    (root / "ant" / "linked.png").symlink_to(root / "bee" / "0.png")
    (root / "ant" / "loop.png").symlink_to("loop.png")
    (root / "ant" / "round").symlink_to(root)
    (root / "ant" / "gone.png").symlink_to("/nowhere/at/all.png")
    (root / "ant" / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(root / "ant" / "pipe.png")
    found = folder_images(root)
    assert len(found.train.labels) + len(found.test.labels) == 7
    (root / "ant" / "endless.png").symlink_to("/proc/self/status")
    assert "allowed are 1 to" in refusal(root)


def test_large_files_are_not_read_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "_CHUNK_BYTES", 1_000)
    stream = ((str(number), b"x" * 400) for number in range(10))
    assert [len(chunk) for chunk in sets._chunks(stream)] == [3, 3, 3, 1]


def test_what_may_not_be_read_is_told_and_not_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for label in ("ant", "bee", "cat"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(picture())
        (tmp_path / label / "2.png").write_bytes(picture())
    opened, access = Path.open, os.access

    def refusing(path: Path, *args: object, **options: object) -> object:
        if path.name == "1.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refusing)
    assert "cannot be read: [Errno 13] Permission denied" in refusal(tmp_path)
    with pytest.raises(OptionError, match="1.png cannot be read"):
        load_images(image_files(tmp_path), (6, 3, 4, 4), torch.Generator())
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "cat" and access(path, mode))
    assert "cat" in refusal(tmp_path)
