"""Pushes with a fault each, drawn by a seed: `python -m tests.support.hub.trial 100` prints what became of them."""

import json
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from paramgen.errors import HubError
from paramgen.hub.commit import Target, push
from tests.support.hub.connected import connected
from tests.support.hub.faults import HALF, LOST, REFUSED
from tests.support.hub.server import Hub

LARGE = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SMALL = ("config.json", "paramgen.json", "README.md", "figures/weights.svg")
COMMON = ("info", "tree", "create", "preupload", "batch", "validate", "branch", "commit")
ROUTES = {True: (*COMMON, "xet"), False: (*COMMON, "put", "verify")}
FAULTS = (500, 503, 429, 401, 403, 409, HALF, LOST, REFUSED, "moved")


def folder_of(root: Path, draw: random.Random) -> dict[str, Path]:
    """Write the files of a push."""
    files = {name: root / name for name in (*LARGE, *SMALL)}
    for name, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw.randbytes(draw.randrange(1, 50_000) if name in LARGE else 200).hex().encode())
    return files


def trial(hub: Hub, root: Path, seed: int) -> str:
    """Push with a fault and, where that fails, without; return what happened, after looking at the repository."""
    draw = random.Random(seed)
    repo, files = f"me/trial-{seed}", folder_of(root / str(seed), draw)
    if draw.random() < 0.7:
        old = {"paramgen.json": b"{}", LARGE[0]: draw.randbytes(100), "model-00003-of-00003.safetensors": b"old"}
        hub.store.fill(repo, old, private=True)
    target = Target(repo=repo, revision=draw.choice([None, None, "seed-1"]), pr=False)
    branch, before = target.revision or "main", heads(hub, repo)
    unasked = {"create"} if before else set()
    unasked |= {"branch"} if branch == "main" else set()
    route, does = draw.choice([name for name in ROUTES[hub.xet] if name not in unasked]), draw.choice(FAULTS)

    def moved(hub: Hub) -> None:
        if hub.store.find(repo):
            hub.store.fill(repo, {"notes.md": b"somebody else's"})

    hub.fail(
        route, moved if does == "moved" else does, times=draw.choice([1, 1, 2, 50]), skip=draw.choice([0, 0, 0, 1])
    )
    made = hub.faults.made
    try:
        push(files, target, message="trial")
        outcome = "pushed in spite of it" if hub.faults.made > made else "no fault met"
    except HubError as error:
        assert "\n" not in str(error) and "type" in error.message.lower(), error
        outcome = "refused, then completed"
        assert_untouched(hub, repo, branch, before)
    hub.faults.clear()
    if outcome.startswith("refused"):
        push(files, target, message="trial")
    assert_whole(hub, repo, branch, files)
    return outcome


def heads(hub: Hub, repo: str) -> dict[str, str]:
    """Return the commit of each branch."""
    found = hub.store.find(repo)
    return {} if found is None else dict(found.refs)


def assert_untouched(hub: Hub, repo: str, branch: str, before: Mapping[str, str]) -> None:
    """The branch is where it was, or where somebody else put it; one that is new holds nothing of the push."""
    after = heads(hub, repo)
    if branch in before:
        assert after[branch] == before[branch] or "notes.md" in hub.store[repo].tree(after[branch])
    titles = {hub.store[repo].record(oid)["title"] for oid in after.values()}
    assert "trial" not in titles


def assert_whole(hub: Hub, repo: str, branch: str, files: Mapping[str, Path]) -> None:
    """The branch holds every file byte for byte, one commit above, and no weights that are not among them."""
    found = hub.store[repo]
    tree = found.tree(found.refs[branch])
    for name, path in files.items():
        assert found.blob(tree[name].sha256).read_bytes() == path.read_bytes(), name
    assert {name for name in tree if name.endswith(".safetensors")} == set(LARGE)
    assert [found.record(oid)["title"] for oid in found.history(branch)].count("trial") == 1


def main() -> None:
    """Run trials by both protocols and count."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for xet in (True, False):
        outcomes: Counter[str] = Counter()
        with (
            pytest.MonkeyPatch.context() as patch,
            TemporaryDirectory() as folder,
            connected(Path(folder), patch, xet=xet) as hub,
        ):
            for seed in range(count):
                outcomes[trial(hub, Path(folder), seed)] += 1
        print(json.dumps({"protocol": "xet" if xet else "lfs", "pushes": count, **outcomes}))  # noqa: T201


if __name__ == "__main__":
    main()
