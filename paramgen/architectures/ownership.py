"""Which folders made from an own module may run its Python file again: those this user wrote, known by a keyed hash.

A folder names a file, a function and arguments; whoever can write a folder could name any. So the configuration of an
own module is signed with a key that never leaves the user's machine, and nothing unsigned is ever imported or called.
Where the code is, is known on that machine alone: the folder has no path but a keyed hash of it.
"""

import hmac
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from paramgen.architectures import read_config

MODULE_RECORD: Final = "module.json"
"""Where the record is, if config.json belongs to the module's own class."""

SIGNATURE: Final = "signature"
ORIGIN: Final = "origin"
_KEY_BYTES: Final = 32
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MAX_PATH: Final = 100_000


def signed(config: Mapping[str, Any], root: Path | None = None) -> dict[str, Any]:
    """Return `config` with its signature; without one where no key can be kept.

    `root` is where its code begins: it is remembered here, and bound into the signature.
    """
    key = _key(create=True)
    if key is None:
        return dict(config)
    if root is not None:
        origin = _origin(root, key)
        if not _remember(origin, root):
            return dict(config)
        config = {**config, ORIGIN: origin}
    return {**config, SIGNATURE: _signature(config, key)}


def root_of(config: Mapping[str, Any]) -> Path | None:
    """Return where the code of a record begins on this machine; None where that is not known."""
    key, origin = _key(create=False), config.get(ORIGIN)
    if key is None or not isinstance(origin, str) or not _HASH.fullmatch(origin):
        return None
    try:
        with (_home() / "code" / origin).open("rb") as file:
            root = Path(os.fsdecode(file.read(_MAX_PATH)))
    except OSError:
        return None
    return root if hmac.compare_digest(_origin(root, key), origin) else None


def is_ours(config: Mapping[str, Any]) -> bool:
    """Whether this user signed `config` on this machine."""
    key = _key(create=False)
    given = config.get(SIGNATURE)
    return key is not None and isinstance(given, str) and hmac.compare_digest(_signature(config, key), given)


def own_record(folder: Path) -> dict[str, Any]:
    """Read the record of the module that `folder` was made from."""
    return read_config(folder / MODULE_RECORD if (folder / MODULE_RECORD).is_file() else folder)


def _signature(config: Mapping[str, Any], key: bytes) -> str:
    content = {name: value for name, value in config.items() if name != SIGNATURE}
    return hmac.digest(key, json.dumps(content, sort_keys=True).encode(), "sha256").hex()


def _origin(root: Path, key: bytes) -> str:
    return hmac.digest(key, b"root:" + os.fsencode(root), "sha256").hex()


def _remember(origin: str, root: Path) -> bool:
    """Keep the path that `origin` means; say whether that could be done."""
    path, content = _home() / "code" / origin, os.fsencode(root)
    try:
        if path.exists() and path.read_bytes() != content:
            path.unlink()
        if not path.exists():
            _make(path, content)
    except OSError:
        return False
    return True


def _key(*, create: bool) -> bytes | None:
    path = _home() / "key"
    try:
        if create and not path.exists():
            _make(path, secrets.token_bytes(_KEY_BYTES))
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) / "paramgen"


def _make(path: Path, content: bytes) -> None:
    """Write a file that only this user reads, whole or not at all; one that is there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    try:
        os.link(partial, path)  # unlike a rename, it never replaces what another process just made
    except FileExistsError:
        pass
    finally:
        partial.unlink()
