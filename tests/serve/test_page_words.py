"""What the page says of messages that were written for the command line: its own labels, and no option."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serve.page_words import ELSEWHERE, FIELDS, on_the_page
from tests.errors.test_option_names import messages

PAGE = Path(__file__).parents[2] / "serve" / "static" / "index.html"
SAID = {
    "The seed is -1. Type: --seed 0": "The seed is -1. In “Seed”: 0",
    "Type: --set a=1 --set b=2": "In “Changes to its config”: a=1 and “Changes to its config”: b=2",
    "It is too large. Leave out --set pretrained.": "It is too large. Leave out “Changes to its config” pretrained.",
    "hypernet did better, but it cannot read. Type: --tokenizer FOLDER": (
        f"hypernet did better, but it cannot read. {ELSEWHERE}"
    ),
    "Type: paramgen predict --prompt WORDS": ELSEWHERE,
    "Not it. Type: --dtype float32, or type: --example-input 2x3": f"Not it. In “Precision”: float32. {ELSEWHERE}",
    "The file is too large": "The file is too large",
}


@pytest.mark.parametrize("message", SAID)
def test_messages_are_said_in_the_words_of_the_page(message: str) -> None:
    assert on_the_page(message) == SAID[message] == on_the_page(SAID[message])


def test_no_message_of_the_package_tells_a_browser_to_type_an_option() -> None:
    found = dict(messages())
    assert len(found) > 60
    for place, message in found.items():
        assert not re.search(r"(?<!\S)--[a-z]|\b[Tt]ype: ", on_the_page(message)), (place, on_the_page(message))


def test_the_page_has_every_field_that_is_named() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(re.search(rf">{label}\s*<", page) for label in FIELDS.values())


def test_the_page_is_told_in_its_own_words_and_a_program_in_those_of_the_command(serve: Callable[..., Any]) -> None:
    client = serve().client
    body = {
        "arch": "gpt2",
        "set": {"n_layer": 1, "n_embd": 32, "n_head": 2, "vocab_size": 300},
        "init": "hypernet",
    }
    page, program = (client.post(f"/v1/{route}", json=body) for route in ("statistics", "predict"))
    said, detail = page.text, program.json()["detail"]
    assert page.status_code == program.status_code == 422
    assert "--tokenizer" in detail and "--" not in json.loads(said)["detail"]
    assert ELSEWHERE in json.loads(said)["detail"]
    auto = client.post("/v1/statistics", json={**body, "init": "auto"})
    assert "--" not in json.loads(auto.text.splitlines()[0])["explanation"]
