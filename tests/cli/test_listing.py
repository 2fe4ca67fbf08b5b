"""Names that can be typed, patterns over them, and what ships by its name."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import paramgen
from paramgen.errors import UnknownNameError
from paramgen.output.names import names_of

if TYPE_CHECKING:
    from conftest import Command


@pytest.mark.parametrize("pattern", ["*convnext_atto*", "convnext_atto", "timm:convnext_atto*", "*CONVNEXT_atto*"])
def test_a_pattern_keeps_the_names_that_it_fits(pattern: str) -> None:
    found = names_of("architectures", "timm", pattern)
    assert {"timm:convnext_atto", "timm:convnext_atto_ols"} <= set(found) < set(names_of("architectures", "timm"))
    assert all("convnext_atto" in name for name in found)


def test_a_pattern_that_fits_nothing_offers_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Did you mean .*convnext.*'\*convnxt_tiny\*' fits none of them"):
        names_of("architectures", "timm", "*convnxt_tiny*")
    with pytest.raises(UnknownNameError, match="fits none"):
        names_of("architectures", "module", "*")


def test_the_command_takes_it(command: "Command") -> None:
    done = command("list", "architectures", "timm", "test_v?t", "--json")
    assert json.loads(done.out) == {"timm:test_vit": ""}
    assert command("list", "architectures", "timm", "test_v?t").out == "timm:test_vit\n"
    assert "have no names below them" in command("list", "initializers", "timm", "*").refusal


SHIPPED = Path(paramgen.__file__).parent / "pretrained"


def test_every_hypernet_that_ships_is_listed_and_described(command: "Command") -> None:
    names = {card.parent.name for card in SHIPPED.glob("*/README.md")}
    listed = json.loads(command("list", "hypernets", "--json").out)
    assert set(listed) == names >= {"vision", "text", "edits"}
    for name, facts in listed.items():
        by_name = json.loads(command("info", name, "--json").out)
        assert by_name == json.loads(command("info", SHIPPED / name, "--json").out)
        assert by_name["parameters"] == facts["parameters"] > 0 and by_name["for"] == facts["for"] != ""
        assert by_name["measured"] == facts["measured"] and facts["measured"]["data"] and len(by_name["sha256"]) == 64
        assert facts["init"] == f"{'diffusion' if name == 'edits' else 'hypernet'}:{name}"
    families = listed["text"]["measured"]["families"]
    assert list(families) == ["text_transformer"] and families["text_transformer"]["largest"] > 1_000_000
    assert "text_transformer" not in listed["vision"]["measured"]["families"]
    lines = command("list", "hypernets").out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(names)
    assert all("parameters; measured on" in line and "--init" in line for line in lines)


def test_what_was_measured_is_said_in_words(command: "Command") -> None:
    measured = json.loads(command("info", "text", "--json").out)["measured"]
    lines = dict(line.split("  ", 1) for line in command("info", "text").out.splitlines())
    assert lines["measured on"].strip() == ", ".join(measured["data"])
    facts = measured["families"]["text_transformer"]
    said = f"{facts['networks']} networks of up to {facts['largest']:,} parameters"
    assert lines["measured: text transformer"].strip() == said and "families" not in "".join(lines.values())


def test_a_folder_of_the_users_own_goes_before_what_ships(command: "Command", tmp_path: Path) -> None:
    (tmp_path / "vision").mkdir()
    done = command("info", "vision")
    assert done.status == 2 and "is a folder without config.json" in done.err


def test_initializers_are_grouped_with_papers_and_what_they_apply_to(command: "Command") -> None:
    listed = json.loads(command("list", "initializers", "--json").out)
    assert listed["eoc"]["paper"] == "Hayou et al., 2019, arXiv:1902.06853" and listed["eoc"]["group"] == "formulas"
    assert listed["lsuv"]["runs_network"] and not listed["he"]["runs_network"]
    text = command("list", "initializers").out
    headings = [line for line in text.splitlines() if line.endswith(":") and " " * 2 not in line]
    assert headings[:4] == ["Chosen:", "Learned:", "Default:", "Formulas:"]
    assert "runs the network" in next(line for line in text.splitlines() if line.startswith("lsuv "))


def test_for_an_architecture_it_says_what_each_would_change_or_why_not(command: "Command") -> None:
    found = json.loads(command("list", "initializers", "--for", "timm:test_resnet", "--json").out)
    assert found["he"]["applies"] and 0.9 < found["he"]["share"] <= 1
    assert found["rezero"]["rules"]["rezero norm"] > 0 and found["rezero"]["share"] < 0.1
    assert not found["impulse"]["applies"] and "position tables" in found["impulse"]["reason"]
    assert not found["library"]["applies"] and "default initialization" in found["library"]["reason"]
    assert "needs a larger model" in found["weight_selection"]["reason"]
    text = command("list", "initializers", "--for", "timm:test_resnet").out
    assert any(line.startswith("maxout ") and "no: no weight of it" in line for line in text.splitlines())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "--for", "timm:test_vit"), "--for is about initializers"),
        (("list", "initializers", "--set", "a=1"), "--set and --example-input are for an architecture"),
    ],
)
def test_for_is_about_initializers(words: tuple[str, ...], message: str, command: "Command") -> None:
    assert message in command(*words).refusal
