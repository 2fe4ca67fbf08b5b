"""Inheriting without a named donor: the nearest published model, from a Hub on this machine, and only if confirmed."""

import json
import os
import pty
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

import paramgen
from paramgen.cli.options import inherit_options
from paramgen.cli.predict import predict as command
from paramgen.errors import OptionError, ParamgenError, UnconfirmedError
from paramgen.initializers import initializer_of
from paramgen.output.initializers import _fitness
from paramgen.prediction import Prediction, describe, prepare
from tests.support.hub.connected import connected, environment_of
from tests.support.hub.faults import HALF
from tests.support.hub.server import Hub

ARCH, OVERRIDES = "timm:test_resnet", {"num_classes": 7}
DONOR, OTHER = "timm/test_resnet.r160_in1k", "timm/resnet10t.c3_in1k"
CARD = b"---\nlicense: apache-2.0\ndatasets:\n- imagenet-1k\n---\n"


@pytest.fixture(scope="module")
def published() -> dict[str, bytes]:
    """The files of a model of timm."""
    prediction = prepare(ARCH, init="library", seed=5)
    config = json.dumps(dict(prediction.architecture.layout.config)).encode()
    return {"config.json": config, "model.safetensors": save(prediction.state_dict()), "README.md": CARD}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: dict[str, bytes]) -> Iterator[Hub]:
    with connected(tmp_path, monkeypatch, xet=False) as hub:
        hub.store.fill(DONOR, published)
        yield hub


def predict(init: str) -> Prediction:
    return paramgen.predict(ARCH, init=init, overrides=OVERRIDES)


def refused(init: str, said: str) -> ParamgenError:
    with pytest.raises(ParamgenError, match=said) as caught:
        predict(init)
    assert "\n" not in str(caught.value)
    return caught.value


def cached() -> list[str]:
    return [path.name for path in Path(constants.HF_HUB_CACHE).glob("**/*.safetensors")]


def test_nothing_is_downloaded_before_it_is_confirmed(hub: Hub, published: dict[str, bytes]) -> None:
    error = refused(
        "inherit", rf"would download 2 MB of {DONOR}, the nearest of .*apache-2.0.*init='inherit\?yes=true'"
    )
    assert isinstance(error, UnconfirmedError)
    assert "inherit?yes=true" in error.message
    size = sum(map(len, published.values()))
    commit = hub.store[DONOR].refs["main"]
    assert error.details["donor"] == DONOR and error.details["revision"] == commit
    assert error.details["download_bytes"] == size
    assert not cached() and not {"resolve", "cdn"} & set(hub.asked)
    prediction = predict("inherit?yes=true")
    assert prediction.resolved_init == f"inherit:{DONOR}@{commit}" and DONOR in prediction.explanation
    assert cached() == ["model.safetensors"]
    named = predict(f"inherit:{DONOR}").state_dict()
    assert all(torch.equal(value, named[name]) for name, value in prediction.state_dict().items())


def test_what_is_in_the_cache_is_used_without_a_question_and_without_the_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = predict("inherit?yes=true").resolved_init
    assert predict("inherit").resolved_init == first
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert predict("inherit").resolved_init == first and not hub.asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("paramgen.hub.download.reachable", lambda: False)
    assert predict("inherit").resolved_init == first


def test_without_the_hub_the_nearest_in_the_cache_is_taken(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("inherit?yes=true", f"HF_HUB_OFFLINE forbids.* is in the cache; the nearest is {DONOR}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    large = prepare("timm:resnet10t", init="library", overrides={"channels": [8, 8, 8, 8], "stem_width": 8})
    config = json.dumps(dict(large.architecture.layout.config)).encode()
    hub.store.fill(OTHER, {"config.json": config, "model.safetensors": save(large.state_dict()), "README.md": CARD})
    predict(f"inherit:{OTHER}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert predict("inherit").resolved_init.startswith(f"inherit:{OTHER}@")


def test_licences_of_the_catalog_and_of_the_card_must_be_allowed(hub: Hub, published: dict[str, bytes]) -> None:
    refused("inherit?yes=true&license_allow=mit", "the nearest donor of .* cannot be had: the Hub has no repository")
    refused("inherit?license_allow=mti", "Unknown licence 'mti'. Did you mean 'mit'")
    assert predict(f"inherit:{DONOR}?license_allow=apache-2.0").by_rule
    refused(f"inherit:{DONOR}?license_allow=mit,bsd-3-clause", "under 'apache-2.0'. Allowed: bsd-3-clause, mit")
    hub.store.fill(DONOR, published | {"README.md": b"---\nlicense: cc-by-nc-4.0\n---\n"})
    refused("inherit?yes=true", "is under 'cc-by-nc-4.0'. Allowed: any that allows any use")
    hub.store.fill(DONOR, published | {"README.md": b"# Nothing\n"})
    refused("inherit?yes=true", "names no licence")
    assert predict(f"inherit:{DONOR}").by_rule  # it was asked for by name, whatever its licence


def test_what_the_nearest_lacks_comes_from_a_donor_of_ones_own(hub: Hub, tmp_path: Path) -> None:
    paramgen.write(ARCH, tmp_path / "mine", init="library", overrides=OVERRIDES, verify=False)
    (tmp_path / "mine" / "README.md").unlink()  # of no known licence
    prediction = predict(f"inherit?yes=true&with={tmp_path / 'mine'}")
    assert prediction.rules["fc.weight"] == "inherit:with:exact"
    assert prediction.rules["conv1.0.weight"] == "inherit:exact"
    assert "license" not in prediction.initializer.provenance()


def test_what_cannot_be_had_is_one_line(hub: Hub) -> None:
    hub.fail("tree", 503, times=100)
    hub.fail("info", 503, times=100)
    refused("inherit?yes=true", f"'{DONOR}', the nearest donor of .* cannot be had: the Hub answers 503")
    hub.faults.__init__()  # type: ignore[misc]
    found = hub.store[DONOR]
    found.gated = True
    found.save()
    refused("inherit?yes=true", "cannot be had: the repository is gated, and you were not let in")


def test_a_download_that_breaks_is_one_line_and_is_taken_up_again(hub: Hub) -> None:
    hub.fail("cdn", HALF, times=100)
    refused("inherit?yes=true", f"No donor '{DONOR}'.*the connection broke")
    hub.faults.__init__()  # type: ignore[misc]
    assert predict("inherit?yes=true").by_rule


def test_no_published_model_fits_a_plain_mlp(hub: Hub) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    with pytest.raises(OptionError, match="is a plain MLP, and no published model of its family is known"):
        paramgen.predict(module, init="inherit", example_input=torch.zeros(2, 6))
    assert not hub.asked


def test_a_list_of_initializers_asks_nobody(hub: Hub) -> None:
    fitness = _fitness("inherit", *describe(ARCH))
    assert not fitness.applies and "no donor is named" in fitness.reason and not hub.asked
    assert initializer_of("inherit").describe() == initializer_of("inherit").provenance() == {}


def test_a_dry_run_says_what_it_would_download(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(arch=ARCH, init="inherit", dry_run=True, yes=True, as_json=True, out=tmp_path / "out")
    said = json.loads(capsys.readouterr().out)
    assert said["donor"] == DONOR and said["download_bytes"] > 1_500_000
    assert not cached() and not (tmp_path / "out").exists()


def test_without_a_terminal_it_demands_yes(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(OptionError, match="would download 2 MB of .*(Type|Pass) the same with --yes$"):
        command(arch=ARCH, init="inherit", out=folder)
    assert not folder.exists() and not cached()
    allowed = ["apache-2.0", "mit"]
    command(arch=ARCH, init="inherit|scale:0.5", yes=True, license_allow=allowed, out=folder, check=False, quiet=True)
    record = json.loads((folder / "paramgen.json").read_text())
    assert record["provenance"]["repo"] == DONOR and record["provenance"]["license"] == "apache-2.0"


@pytest.mark.parametrize("option", [["--yes"], ["--license-allow", "mit"]])
def test_the_options_are_those_of_inherit(option: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        inherit_options("he", yes="--yes" in option, license_allow=option[1:])
    assert caught.value.message.startswith(f"{option[0]} is about the donor of --init inherit; given was --init he")


@pytest.mark.parametrize(
    ("answer", "code"),
    [pytest.param("n\n", 2, marks=pytest.mark.slow), pytest.param("y\n", 0, marks=pytest.mark.thorough)],
)
def test_on_a_terminal_it_asks(hub: Hub, tmp_path: Path, answer: str, code: int) -> None:
    """A real process with a terminal of its own."""
    words = [sys.executable, "-m", "paramgen", "predict", "--arch", ARCH, "--no-check", "--init", "inherit", "--out"]
    process, terminal = pty.fork()
    if process == 0:  # the child is the command
        os.chdir(tmp_path)
        os.execve(words[0], [*words, "out"], os.environ | environment_of(hub, tmp_path) | {"TERM": "xterm"})
    said, answered = "", False
    while True:
        try:
            said += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            break
        if "[y/N]" in said and not answered:
            os.write(terminal, answer.encode())
            answered = True
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == code, said
    assert answered and "would download" in said and (tmp_path / "out").exists() == (code == 0)
