"""The page: complete in itself, harmless whatever names hold, with the curves and all figures."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

import paramgen
from paramgen.diagnosis.page import html
from paramgen.diagnosis.table import header, rows

Plain = Callable[..., nn.Module]


def test_it_holds_the_advice_the_curves_and_every_figure(plain: Plain, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = paramgen.diagnose(plain(6, 16, gain=0.3), init=["library", "he"], example_input="2x16", out=page)
    text = page.read_text(encoding="utf-8")
    assert text == html(found)
    assert "The signal fades" in text and text.count("<svg") == 1
    assert not re.search(r"(src|href)=.(?!#)|url\((?!#)|<script", text)
    for row in rows(found.inits, found.results):
        assert row[0].replace("'", "&#x27;") in text
    assert header(found.inits) == ["figure", "library", "he"]
    with pytest.raises(paramgen.ParamgenError, match="exists"):
        paramgen.diagnose(plain(1, 16), example_input="2x16", out=page)
    paramgen.diagnose(plain(1, 16), example_input="2x16", out=page, what="guessing", overwrite=True)
    assert "<svg" not in page.read_text(encoding="utf-8")


def test_names_are_escaped(plain: Plain) -> None:
    module = plain(2, 16)
    module.__class__ = type("<script>", (nn.Sequential,), {})
    found = paramgen.diagnose(module, example_input="2x16", what="signal")
    assert "<script>" not in html(found)


def test_it_needs_nothing_to_be_wrong(plain: Plain) -> None:
    found = paramgen.diagnose(plain(4, 64), init="he", example_input="2x64", what="signal")
    assert "Nothing that was measured is wrong" in html(found)
