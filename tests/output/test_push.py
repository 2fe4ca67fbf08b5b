"""`paramgen push` and `paramgen predict --push` as a user meets them, against a Hub on this machine."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save

import paramgen
from paramgen.hub.download import reason
from paramgen.output.push import pushable
from tests.support.hub.connected import code_of, connected
from tests.support.hub.server import Hub

if TYPE_CHECKING:
    from conftest import Command

FILES = {"README.md", "config.json", "model.safetensors", "paramgen.json"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch) as hub:
        yield hub


@pytest.fixture
def run(hub: Hub, command: "Command", tmp_path: Path) -> "Command":
    """Run `paramgen` in a process that asks the same Hub."""

    def run(*arguments: object, **options: object) -> object:
        environment = {"HF_TOKEN": "hf_me", "HF_XET_CLIENT_RETRY_BASE_DELAY": "1ms"} | options
        return command(*arguments, code=code_of(hub, tmp_path), **environment)

    return run


@pytest.fixture
def start(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paramgen.write("own.py:build", "start", init="library")
    return tmp_path / "start"


def contents(hub: Hub, repo: str = "me/start", revision: str = "main") -> dict[str, bytes]:
    found = hub.store[repo]
    tree = found.tree(found.refs[revision])
    return {name: found.blob(entry.sha256).read_bytes() for name, entry in tree.items() if name != ".gitattributes"}


def test_a_folder_is_pushed_with_its_card_and_figures_and_nothing_else(hub: Hub, start: Path) -> None:
    (start / "README.md").write_text("# A card of mine\n")
    (start / "figures").mkdir()
    (start / "figures" / "weights.svg").write_text("<svg/>")
    (start / "secret.txt").write_text("not paramgen's")
    seen: list[tuple[str, int, int]] = []
    done = paramgen.push(start, "me/start", progress=lambda *event: seen.append(event))
    there = contents(hub)
    assert set(there) == set(done.files) == FILES | {"figures/weights.svg"}
    kept = there.keys() - {"config.json", "paramgen.json"}
    assert all(there[name] == (start / name).read_bytes() for name in kept)
    assert hub.store["me/start"].record(done.commit)["title"].startswith("Initial weights of own.py:build by library")
    assert seen[0][1:] == (0, sum(done.files.values())) and seen[-1][0] == "Committing"


def test_nothing_that_is_pushed_names_a_folder_of_this_machine(
    hub: Hub, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paramgen.write(f"{own}:build", "start", init="library")
    paramgen.push("start", "me/start")
    there = contents(hub)
    assert b"signature" in Path("start/config.json").read_bytes()
    assert not any(str(tmp_path).encode() in data or b"signature" in data for data in there.values())
    for name, data in there.items():  # as somebody else downloads them
        (tmp_path / "theirs").mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).write_bytes(data)
    report = json.loads(there["paramgen.json"])
    assert report["files"]["config.json"] == len(there["config.json"])
    module = paramgen.load("start")
    assert paramgen.load("theirs", module) is module


def test_a_hypernet_is_pushed_and_predicts_from_there(hub: Hub, hypernet_folder: Path) -> None:
    done = paramgen.push(hypernet_folder, "me/small", public=True)
    assert set(done.files) >= {"config.json", "model.safetensors"} and not done.private
    module = torch.nn.Conv2d(3, 4, 3)
    here, there = (
        paramgen.predict(module, init=f"hypernet:{name}", example_input=torch.zeros(1, 3, 8, 8))
        for name in (hypernet_folder, "me/small")
    )
    assert torch.equal(here.state_dict()["weight"], there.state_dict()["weight"])
    assert there.initializer.describe()["revision"] == done.commit


@pytest.mark.slow
def test_a_pipeline_is_pushed_and_makes_the_same_weights_of_words_from_there(
    run: "Command", hub: Hub, pipeline_folder: Path, tmp_path: Path
) -> None:
    done = run("push", pipeline_folder, "me/words")
    assert done.out.splitlines()[-1] == "  paramgen predict --prompt WORDS --init diffusion:me/words", done
    there = contents(hub, "me/words")
    wanted = {path.relative_to(pipeline_folder).as_posix(): path for path in pipeline_folder.rglob("*.*")}
    assert there == {name: path.read_bytes() for name, path in wanted.items()}
    here, fetched = (
        paramgen.predict(init=f"diffusion:{name}", prompt="sepia") for name in (pipeline_folder, "me/words")
    )
    weights = fetched.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in here.state_dict().items())
    assert fetched.initializer.describe()["revision"] == hub.store["me/words"].refs["main"]
    shutil.copytree(pipeline_folder, tmp_path / "broken")
    (tmp_path / "broken" / "denoiser" / "diffusion_pytorch_model.safetensors").write_bytes(b"not whole")
    assert "is no pipeline that can be used" in run("push", "broken", "me/broken").refusal
    assert hub.store.find("me/broken") is None


def test_what_predicts_replaces_its_own_kind_only(hub: Hub, hypernet_folder: Path, pipeline_folder: Path) -> None:
    hub.store.fill(
        "me/trained", {"model.safetensors": b"trained", "config.json": b'{"model_type": "vit"}'}, private=True
    )
    paramgen.push(pipeline_folder, "me/words")
    for repo in ("me/trained", "me/words"):
        before = hub.store[repo].refs["main"]
        with pytest.raises(paramgen.ParamgenError, match="holds other weights, which would be replaced"):
            paramgen.push(hypernet_folder, repo)
        assert hub.store[repo].refs["main"] == before
    assert paramgen.push(hypernet_folder, "me/trained", revision="hypernet").committed
    assert not paramgen.push(hypernet_folder, "me/trained", revision="hypernet").committed


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("absent", "There is no folder"),
        ("not ours", "was not written by paramgen"),
        ("weights changed", "has changed since it was written"),
        ("config changed", "config.json in .* has changed since it was written"),
        ("a file is gone", "is missing, a link or no file"),
        ("a link", "is missing, a link or no file"),
        ("a path out of it", "lists no files"),
        ("nested deep", "nested more than 64 deep"),
    ],
)
def test_a_folder_that_is_not_what_it_was_is_not_pushed(hub: Hub, start: Path, how: str, said: str) -> None:
    report = json.loads((start / "paramgen.json").read_text())
    if how == "absent":
        shutil.rmtree(start)
    elif how == "not ours":
        (start / "paramgen.json").unlink()
    elif how == "weights changed":
        data = bytearray((start / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (start / "model.safetensors").write_bytes(data)
    elif how == "config changed":
        (start / "config.json").write_text((start / "config.json").read_text() + "\n")
    elif how == "nested deep":
        text = json.dumps(report | {"paramgen": "deep"}).replace('"deep"', "[" * 900 + "]" * 900)
        (start / "paramgen.json").write_text(text)
    elif how == "a link":
        (start / "README.md").unlink()
        (start / "README.md").symlink_to("/etc/passwd")
    else:
        listed = {"gone.safetensors": 3} if how == "a file is gone" else {"../own.py": 3}
        (start / "paramgen.json").write_text(json.dumps(report | {"files": report["files"] | listed}))
    with pytest.raises(paramgen.ParamgenError, match=said) as caught:
        paramgen.push(start, "me/start")
    assert "\n" not in str(caught.value)
    assert hub.store.find("me/start") is None


def test_what_is_pushed_of_a_checked_folder_is_not_checked_again(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("paramgen.output.push.check_folder", lambda _: pytest.fail("checked again"))
    assert set(pushable(start, checked=True).files) == FILES


def test_the_command_says_what_is_where_and_how_to_load_it(run: "Command", hub: Hub, start: Path) -> None:
    done = run("push", "start", "me/start")
    assert done.status == 0 and not done.err
    first, page, *lines = done.out.splitlines()
    commit = hub.store["me/start"].refs["main"]
    assert first.startswith("me/start (private): 4 files, ") and first.endswith(f" in one commit: {commit[:7]}")
    assert page.strip() == f"{hub.url}/me/start"
    assert "snapshot_download('me/start')" in lines[-1]
    again = run("push", "start", "me/start", "--json")
    assert json.loads(again.out)["committed"] is False and json.loads(again.out)["commit"] == commit
    assert "hf_me" not in done.out + again.out
    assert run("push", "start", "me/start", "--quiet").out == ""


def test_predict_pushes_without_keeping_a_folder(run: "Command", hub: Hub, own: Path, tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    words = ("predict", "--arch", "own.py:build", "--init", "library", "--push", "start")
    done = run(*words, "--message", "Mine", "--json")
    found = json.loads(done.out)
    assert done.status == 0 and found["folder"] is None and set(tmp_path.iterdir()) - before == set()
    assert found["pushed"]["repo"] == "me/start" and set(contents(hub)) == FILES
    assert hub.store["me/start"].record(found["pushed"]["commit"])["title"] == "Mine"
    assert b"snapshot_download('me/start')" in contents(hub)["README.md"]
    kept = run(*words, "--out", "kept", "--revision", "seed-1", "--seed", "1")
    assert kept.out.startswith("kept: own.py:build") and "revision='seed-1'" in kept.out
    assert (tmp_path / "kept" / "model.safetensors").read_bytes() == contents(hub, revision="seed-1")[
        "model.safetensors"
    ]


@pytest.mark.parametrize(
    ("words", "token", "said"),
    [
        (("--push", "me/open"), "hf_me", "'me/open' is public"),
        (("--push", "me/start"), "hf_gone", "does not accept the token"),
        (("--push", "me/start"), "", "there is no token"),
        (("--public",), "hf_me", "need --push. Type: --push OWNER/NAME"),
    ],
)
def test_predict_refuses_before_it_predicts(
    run: "Command", hub: Hub, own: Path, tmp_path: Path, words: tuple[str, ...], token: str, said: str
) -> None:
    hub.store.fill("me/open", {"notes.md": b""})
    before = set(tmp_path.iterdir())
    done = run("predict", "--arch", "own.py:build", "--out", "out", *words, HF_TOKEN=token)
    assert said in done.refusal and set(tmp_path.iterdir()) == before


def test_a_push_that_fails_leaves_the_folder_and_the_command_to_type(run: "Command", hub: Hub, own: Path) -> None:
    words = ("predict", "--arch", "own.py:build", "--init", "library", "--push", "me/start", "--out", "out")
    hub.fail("commit", 503, times=50)
    done = run(*words)
    assert "Type the same command again" in done.refusal and contents(hub) == {}
    hub.faults.clear()
    assert run("push", "out", "me/start").status == 0 and set(contents(hub)) == FILES


def test_a_disk_that_is_full_while_fetching_is_one_line(
    command: "Command", own: Path, hub: Hub, tmp_path: Path
) -> None:
    hub.store.fill("me/large", {"model.safetensors": save({"head.weight": torch.zeros(300, 300)})})
    words = ("predict", "--arch", "own.py:build", "--init", "weight_selection:me/large")
    done = command(*words, code=code_of(hub, tmp_path), limit=100_000)
    assert "file too large" in done.refusal
    assert not (tmp_path / "own").exists()


def test_a_full_disk_is_named_whatever_raised_it() -> None:
    errors = (
        OSError(28, "No space left on device"),
        RuntimeError("Task error: IO Error: No space left on device (os 28)"),
    )
    assert {reason(error).partition(":")[0] for error in errors} == {"the disk is full"}


def test_a_chain_is_pushed_and_its_card_s_command_makes_the_same_bytes(
    run: "Command", hub: Hub, own: Path, tmp_path: Path
) -> None:
    chain = ("--then", "lowrank:2", "--then", "scale:0.5?layers=hidden")
    done = run("predict", "--arch", "own.py:build", "--init", "he", *chain, "--seed", 3, "--push", "me/chain")
    assert done.status == 0, done
    there = contents(hub, "me/chain")
    assert json.loads(there["paramgen.json"])["init"] == "he|lowrank:2|scale:0.5?layers=hidden"
    (typed,) = re.findall(r"^```sh\n(.*?)^```$", there["README.md"].decode(), re.MULTILINE | re.DOTALL)
    words = shlex.split(typed)
    assert words[:2] == ["paramgen", "predict"] and words[-2] == "--out"
    again = run(*words[1:-1], "again")
    assert again.status == 0, again
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == there["model.safetensors"]
    kept = run("predict", "--arch", "own.py:build", "--init", "he", "--seed", 3, "--out", "plain")
    assert kept.status == 0 and (tmp_path / "plain" / "model.safetensors").read_bytes() != there["model.safetensors"]
    pushed = run("push", "again", "me/chain", "--json")  # the folder that the command made, in place of the first
    assert pushed.status == 0 and contents(hub, "me/chain")["model.safetensors"] == there["model.safetensors"]
