"""What others wrote reaches a terminal as letters, whether it is one or a pipe, plain, in a table or as an error."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from paramgen.cli.terminal import Terminal
from paramgen.errors import harmless, one_line

if TYPE_CHECKING:
    from conftest import Command

ORDERS = "\x1b]0;title\x07 \x1b[2J \x1b]8;;http://evil\x1b\\link \x9b31m \u202eabc\u2066 \r \x08 \ud800"
FORBIDDEN = set("\x1b\x07\x9b\u202e\u2066\r\x08\ud800")


def test_letters_stay() -> None:
    assert harmless("ünï 漢字 🌱\n\tx") == "ünï 漢字 🌱\n\tx"


@pytest.mark.parametrize("text", [harmless(ORDERS), one_line(ORDERS), one_line(ValueError(ORDERS))])
def test_orders_do_not(text: str) -> None:
    assert not FORBIDDEN & set(text) and "title" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_that_is_printed_orders_a_terminal_about(terminal: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = Terminal(file=out, force_terminal=terminal, color_system=None, width=200)
    table = Table(ORDERS)
    table.add_row(ORDERS)
    for each in (f"[bold]x[/] {ORDERS}", Text(ORDERS), table):
        console.print(each)
    assert not FORBIDDEN & set(out.getvalue()) and "title" in out.getvalue()


def test_a_record_of_anybodys_is_shown_without_its_orders(tmp_path: Path, command: "Command") -> None:
    (tmp_path / "paramgen.json").write_text(json.dumps({"format_version": 1, "spec": ORDERS, ORDERS: 1, "seed": 0}))
    shown = command("info", str(tmp_path)).out
    assert "title" in shown and not FORBIDDEN & set(shown)
