"""Push a folder to the caller's repository of the Hub, in a process of its own that alone has the caller's token."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from paramgen.errors import OptionError, one_line
from paramgen.output.planning import plan_folder
from paramgen.output.write import write_prediction
from paramgen.registry.repository_names import is_repository
from paramgen.serving.allowlist import TOKEN
from serve.limits import Watch
from serve.orders import Order
from serve.problems import Problem
from serve.workrooms import workroom

HEADER: Final = "x-hub-token"


def pushing(order: Order, repo: str, token: str, *, parent: Path | None, watch: Watch) -> Callable[[], dict[str, Any]]:
    """Return the work that writes the folder, pushes it, and returns what is on the Hub then."""
    if not is_repository(repo):
        raise OptionError(f"Cannot push to {one_line(repo)!r}. Allowed: OWNER/NAME")
    layout = order.prediction.architecture.layout
    if order.prediction.requested.arch is None and layout.source != "module":
        # It would be checked by loading it, and the caller wrote what its library would build.
        raise OptionError(f"A graph of {one_line(layout.source)!r} is not pushed. Name the network instead: arch")
    if not TOKEN.fullmatch(token):
        raise Problem(HTTPStatus.UNAUTHORIZED, "Pushing needs your own token of the Hub, in the header X-Hub-Token.")

    def work() -> dict[str, Any]:
        with workroom(parent) as made:
            folder = made / repo.partition("/")[2]
            write_prediction(plan_folder(order.prediction), folder)
            return _pushed(folder, repo, token, watch)

    return work


def _pushed(folder: Path, repo: str, token: str, watch: Watch) -> dict[str, Any]:
    """Run `paramgen push`; only this user can read the environment of the process."""
    command = [sys.executable, "-m", "paramgen", "push", "--json", "--", str(folder), repo]
    environment = {**os.environ, "HF_TOKEN": token}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, messages = _followed(process, watch)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        line = one_line(messages.decode(errors="replace")).removeprefix("error: ")
        line = line.replace(str(folder), "the folder").replace(token, "the token")
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, line or "The push failed.")
    found: dict[str, Any] = json.loads(out)
    return found


def _followed(process: "subprocess.Popen[bytes]", watch: Watch) -> tuple[bytes, bytes]:
    while True:
        try:
            return process.communicate(timeout=0.2)
        except subprocess.TimeoutExpired:
            watch.check()
