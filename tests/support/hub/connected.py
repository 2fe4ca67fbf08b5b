"""huggingface_hub of this process, or of another, made to ask a Hub on this machine, with a cache of its own."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import close_session, constants
from huggingface_hub.utils._xet import abort_xet_session
from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

from tests.support.hub.server import Hub, served

TEMPLATE = "/{repo_id}/resolve/{revision}/{filename}"


@contextmanager
def connected(root: Path, patch: pytest.MonkeyPatch, *, xet: bool = True, token: str = "hf_me") -> Iterator[Hub]:
    """Serve a Hub below `root` and have this process ask it; waits before further tries are short."""
    with served(root / "hub", xet=xet) as hub:
        for name, value in constants_of(hub, root).items():
            patch.setattr(constants, name, value)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", not xet)
        patch.setenv("HF_TOKEN", token)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        brief = SimpleNamespace(sleep=lambda _: time.sleep(0.001), time=time.time)
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            patch.setattr(f"{module}.time", brief)
        patch.setattr("paramgen.hub.download.WAITS", (0.001,) * 3)
        patch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "1ms")
        close_session()
        abort_xet_session()  # type: ignore[no-untyped-call]  # the next one reads the line above
        disable_progress_bars()
        yield hub
        enable_progress_bars()
        close_session()


def constants_of(hub: Hub, root: Path) -> dict[str, object]:
    """Return what huggingface_hub took from the environment when it was imported."""
    return {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + TEMPLATE,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(root / "cache"),
        "HF_TOKEN_PATH": str(root / "token"),
    }


def code_of(hub: Hub, root: Path) -> str:
    """Return code that connects a process that has imported huggingface_hub."""
    lines = [f"constants.{name} = {value!r}" for name, value in constants_of(hub, root).items()]
    lines += ["from huggingface_hub.utils import disable_progress_bars", "disable_progress_bars()"]
    waits = ["import paramgen.hub.download", "paramgen.hub.download.WAITS = (0.001,) * 3"]
    return "\n".join(["from huggingface_hub import constants", *lines, *waits])


def environment_of(hub: Hub, root: Path, token: str = "hf_me") -> Mapping[str, str]:
    """Return the environment of a fresh process."""
    fresh = {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "home"), "HF_TOKEN": token, "HF_HUB_OFFLINE": "0"}
    return fresh | {"NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
