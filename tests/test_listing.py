"""Names that can be typed, and patterns over them."""

import json
from typing import TYPE_CHECKING

import pytest

from paramgen.errors import UnknownNameError
from paramgen.listing import names_of

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
