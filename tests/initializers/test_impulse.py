"""Each attention head looks one position aside, as its weights and the position table alone decide."""

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm

import paramgen
from paramgen.initializers.impulse import shift
from paramgen.prediction import prepare


@pytest.mark.parametrize("init", ["impulse", "impulse?kernel=5&scale=20.0"])
def test_every_head_attends_one_step_aside(init: str) -> None:
    prediction = prepare("timm:test_vit", init=init)
    state = prediction.state_dict()
    positions = layer_norm(state["pos_embed"][0, 1:], (64,))  # behind the class token
    size = 3 if init == "impulse" else 5
    number = 0
    for block in range(6):
        query, key, _ = state[f"blocks.{block}.attn.qkv.weight"].chunk(3)
        for head in range(2):
            rows = slice(32 * head, 32 * head + 32)
            scores = (positions @ query[rows].T) @ (positions @ key[rows].T).T / 32**0.5
            row, column = divmod(number % size**2, size)
            wanted = shift((10, 10), row - size // 2, column - size // 2)
            assert float((scores.argmax(1) == wanted.argmax(1)).float().mean()) > 0.95
            assert float((scores.softmax(1) * wanted).sum(1).mean()) > 0.7
            number += 1


def test_values_and_everything_else_are_the_librarys() -> None:
    rules = prepare("timm:test_vit", init="impulse").rules
    filled = {name for name, rule in rules.items() if rule == "impulse"}
    assert filled == {"pos_embed"} | {f"blocks.{block}.attn.qkv.weight" for block in range(6)}
    with torch.device("meta"):
        library = prepare("timm:test_vit", init="library").state_dict()["blocks.0.attn.qkv.weight"]
    own = prepare("timm:test_vit", init="impulse").state_dict()["blocks.0.attn.qkv.weight"]
    assert torch.equal(own[128:], library[128:]) and not torch.equal(own[:128], library[:128])


def test_networks_without_positions_over_a_grid_are_told_what_to_type() -> None:
    with pytest.raises(paramgen.ParamgenError, match="it has 0 position tables over the grid of an image"):
        paramgen.predict(nn.Linear(4, 4), init="impulse")
