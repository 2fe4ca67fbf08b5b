"""Pushing files to a Hub on this machine, by both of its protocols."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from paramgen.errors import HubError
from paramgen.hub.commit import Target, checked_target, push
from paramgen.hub.pushed import Pushed
from tests.support.hub import trial
from tests.support.hub.connected import connected
from tests.support.hub.faults import HALF, LOST
from tests.support.hub.server import Hub

WEIGHTS = b"weights" * 1000
FILES = {"model.safetensors": WEIGHTS, "config.json": b"{}", "paramgen.json": b"{}", "README.md": b"# A card\n"}


@pytest.fixture(params=["xet", "lfs"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, xet=request.param == "xet") as hub:
        yield hub


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return written(tmp_path / "start", FILES)


def written(folder: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def pushed(files: dict[str, Path], **target: object) -> Pushed:
    return push(files, Target(**({"repo": "me/start"} | target)), message="A start")  # type: ignore[arg-type]


def contents(hub: Hub, revision: str = "main", repo: str = "me/start") -> dict[str, bytes]:
    found = hub.store[repo]
    tree = found.tree(found.refs[revision])
    return {name: found.blob(entry.sha256).read_bytes() for name, entry in tree.items() if name != ".gitattributes"}


def uploads(hub: Hub) -> int:
    return hub.asked.count("xet" if hub.xet else "put")


def test_a_new_repository_is_private_and_has_one_commit(hub: Hub, files: dict[str, Path]) -> None:
    done = pushed(files)
    found = hub.store["me/start"]
    assert found.private and done.private and done.created and done.committed and done.compared
    assert contents(hub) == FILES
    assert [found.record(oid)["title"] for oid in found.history()] == ["A start", "initial commit"]
    assert done.commit == found.refs["main"] and done.url == f"{hub.url}/me/start"
    assert (done.sent, done.known) == (sum(map(len, FILES.values())), 0)
    assert not hub.authorized  # the token goes to the Hub alone
    assert "hf_me" not in str(done)


def test_what_is_there_is_not_sent_and_makes_no_commit(hub: Hub, files: dict[str, Path]) -> None:
    first, sent = pushed(files), uploads(hub)
    again = pushed(files)
    assert not again.committed and again.commit == first.commit and again.sent == 0
    files["config.json"].write_bytes(b'{"changed": 1}')
    changed = pushed(files)
    assert changed.committed and changed.sent == 14 and uploads(hub) == sent
    assert contents(hub)["config.json"] == b'{"changed": 1}' and len(hub.store["me/start"].history()) == 3


def test_a_push_that_was_cut_off_is_completed_without_sending_again(hub: Hub, files: dict[str, Path]) -> None:
    hub.fail("commit", 503, times=50)
    with pytest.raises(HubError, match="the Hub answers 503 .*Try the same again"):
        pushed(files)
    assert contents(hub) == {} and len(hub.store["me/start"].history()) == 1
    hub.faults.clear()
    received = hub.received
    done = pushed(files)
    assert contents(hub) == FILES and hub.received == received
    assert done.known == len(WEIGHTS) and not done.created


def test_a_head_that_moves_meanwhile_is_not_built_upon(hub: Hub, files: dict[str, Path]) -> None:
    hub.store.fill("me/start", {"notes.md": b"one"}, private=True)
    hub.fail("preupload", lambda hub: hub.store.fill("me/start", {"notes.md": b"two"}))
    with pytest.raises(HubError, match="'me/start' has changed since this push began, so nothing was committed"):
        pushed(files)
    assert contents(hub) == {"notes.md": b"two"}
    assert pushed(files).committed and contents(hub) == FILES | {"notes.md": b"two"}


@pytest.mark.parametrize("pr", [False, True])
def test_an_answer_that_is_lost_does_not_commit_twice(hub: Hub, files: dict[str, Path], pr: bool) -> None:
    hub.store.fill("me/start", {"notes.md": b""}, private=True)
    hub.fail("commit", LOST)
    done = pushed(files, pr=pr)
    found = hub.store["me/start"]
    assert done.committed and hub.asked.count("commit") == 1
    assert len(found.history()) == (2 if pr else 3)
    assert [name for name in found.refs if name != "main"] == (["refs/pr/1"] if pr else [])
    assert done.revision == ("refs/pr/1" if pr else "main")


def test_a_pull_request_leaves_the_branch_alone(hub: Hub, files: dict[str, Path]) -> None:
    hub.store.fill("lab/start", {"model.safetensors": b"trained"})
    done = pushed(files, repo="lab/start", pr=True, public=True)
    assert contents(hub, repo="lab/start") == {"model.safetensors": b"trained"}
    assert contents(hub, "refs/pr/1", "lab/start") == FILES
    assert done.url == f"{hub.url}/lab/start/discussions/1"


def test_a_branch_is_made_and_stale_weights_go(hub: Hub, files: dict[str, Path]) -> None:
    old = {"model-00001-of-00001.safetensors": b"old", "model.safetensors.index.json": b"{}", "notes.md": b"kept"}
    hub.store.fill("me/start", old, private=True)
    done = pushed(files, revision="seed-1")
    assert contents(hub, "seed-1") == FILES | {"notes.md": b"kept"} and contents(hub) == old
    assert done.url == f"{hub.url}/me/start/tree/seed-1"
    same = pushed(files, revision="seed-1")
    assert not same.committed and same.commit == done.commit


def test_a_file_that_changes_on_its_way_is_not_committed(hub: Hub, files: dict[str, Path]) -> None:
    def change(_: Hub) -> None:
        files["model.safetensors"].write_bytes(b"other")

    hub.fail("preupload", change)
    with pytest.raises(HubError):
        pushed(files)
    assert contents(hub) == {}


def test_bodies_that_break_off_are_sent_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = written(tmp_path / "large", FILES | {"model.safetensors": bytes(3_000_000)})
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        hub.fail("put", HALF, times=2)
        hub.fail("verify", 0.05)
        assert pushed(files).committed and hub.asked.count("put") == 3


def test_what_others_could_see_or_would_lose_is_refused(hub: Hub, files: dict[str, Path]) -> None:
    hub.store.fill("me/open", {"notes.md": b""})
    hub.store.fill("me/trained", {"model.safetensors": b"trained"}, private=True)
    before = hub.store["me/trained"].refs
    with pytest.raises(HubError, match="'me/open' is public: .* Pass: public=True, if so"):
        pushed(files, repo="me/open")
    with pytest.raises(HubError, match="'me/trained' holds other weights"):
        pushed(files, repo="me/trained")
    assert hub.store["me/trained"].refs == before and contents(hub, repo="me/open") == {"notes.md": b""}
    assert pushed(files, repo="me/open", public=True).committed
    assert pushed(files, repo="me/trained", revision="start").committed


@pytest.mark.parametrize(
    ("token", "target", "said"),
    [
        ("hf_gone", {"repo": "me/a"}, "does not accept the token .*Run: hf auth login"),
        ("hf_gone", {"repo": "a"}, "does not accept the token"),
        ("hf_reader", {"repo": "me/a"}, "no right to do that .*Get that right"),
        ("hf_me", {"repo": "other/a"}, "no right to do that"),
        ("hf_me", {"repo": "me/absent", "pr": True}, "no repository of that name"),
        ("hf_me", {"repo": "datasets/me/a"}, "allowed are model repositories"),
        ("hf_me", {"repo": "me/a b"}, "no name of a repository; allowed are"),
        ("hf_me", {"repo": "me/a", "revision": "0" * 40}, "allowed is a branch"),
        ("hf_me", {"repo": "me/a", "revision": "../a"}, "allowed is a branch"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(
    files: dict[str, Path],
    token: str,
    target: dict[str, object],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with connected(tmp_path, monkeypatch, token=token):
        with pytest.raises(HubError, match=said) as caught:
            pushed(files, **target)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 350 and token not in str(caught.value)
        assert not list((tmp_path / "hub").glob("models/*/*"))


def test_a_name_that_is_taken(hub: Hub, files: dict[str, Path]) -> None:
    hub.fail("create", 409)
    with pytest.raises(HubError, match="The name 'me/start' is taken"):
        pushed(files)


def test_without_a_token_or_a_network_nothing_is_asked(
    hub: Hub, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match="there is no token. Run: hf auth login, or set HF_TOKEN"):
        checked_target(Target(repo="me/start"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        pushed(files)
    assert not hub.asked


def test_a_token_that_expires_on_the_way(hub: Hub, files: dict[str, Path]) -> None:
    hub.fail("commit", 401)
    with pytest.raises(HubError, match="does not accept the token"):
        pushed(files)
    assert contents(hub) == {}
    assert pushed(files).committed


def test_a_bare_name_is_in_ones_own_namespace(hub: Hub) -> None:
    assert checked_target(Target(repo="start")) == replace(Target(repo="start"), repo="me/start")
    assert hub.store.find("me/start") is None


@pytest.mark.parametrize("seed", range(6))
def test_a_fault_leaves_all_or_nothing(hub: Hub, tmp_path: Path, seed: int) -> None:
    trial.trial(hub, tmp_path, seed)
