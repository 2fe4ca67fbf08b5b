"""Which folders made from an own module may run its Python file again: those this user wrote, told by a keyed hash.

A folder names a file, a function and arguments; whoever can write a folder could name any. So the configuration of an
own module is signed with a key that never leaves the user's machine, and nothing unsigned is ever imported or called.
"""

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from paramgen.architectures import read_config

RECORD: Final = "module.json"
"""Where the record stands whose config.json belongs to the module's own class."""

SIGNATURE: Final = "signature"
_KEY_BYTES: Final = 32


def signed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return `config` with its signature; without one where no key can be kept."""
    key = _key(create=True)
    return {**config, SIGNATURE: _signature(config, key)} if key is not None else dict(config)


def is_ours(config: Mapping[str, Any]) -> bool:
    """Whether this user signed `config` on this machine."""
    key = _key(create=False)
    given = config.get(SIGNATURE)
    return key is not None and isinstance(given, str) and hmac.compare_digest(_signature(config, key), given)


def own_record(folder: Path) -> dict[str, Any]:
    """Read the record of the module that `folder` was made from."""
    return read_config(folder / RECORD if (folder / RECORD).is_file() else folder)


def _signature(config: Mapping[str, Any], key: bytes) -> str:
    content = {name: value for name, value in config.items() if name != SIGNATURE}
    return hmac.digest(key, json.dumps(content, sort_keys=True).encode(), "sha256").hex()


def _key(*, create: bool) -> bytes | None:
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    path = Path(home) / "paramgen" / "key"
    try:
        if create and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f"key.{os.getpid()}.{secrets.token_hex(4)}")
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(partial, path)  # unlike a rename, it never replaces a key that another process just made
            except FileExistsError:
                pass
            finally:
                partial.unlink()
        key = path.read_bytes()
    except OSError:
        return None
    return key if len(key) == _KEY_BYTES else None
