import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from paramgen.drawing import draw_html
from paramgen.graphs.schema import Graph, Node

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions"
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


def page_after(html: str, fragment: str, folder: Path) -> str:
    """Open the page at a fragment in a browser and return its elements after the script has run."""
    (folder / "g.html").write_text(html, encoding="utf-8")
    address = f"{(folder / 'g.html').as_uri()}#{fragment}"
    command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_search_highlights_and_details_show(residual: Callable[..., Graph], tmp_path: Path) -> None:
    graph = residual(3)
    node = [node.name for node in graph.nodes].index("layer1.1.bn1.weight")
    dom = page_after(draw_html(graph, title="t"), f"search=conv1&node={node}", tmp_path)
    count = re.search(r'<output id="count"[^>]*>([^<]*)<', dom)
    assert count is not None
    assert count[1] == "1 of 3"
    assert len(re.findall(r'class="box conv match', dom)) == 3
    details = dom[dom.index('<aside id="details"') : dom.index("</aside>")]
    assert "hidden" not in details.split(">")[0]
    for words in ("layer1.1.bn1.weight", "layer1.1.bn1.bias", "batch_norm", "16", "layer1.1.conv1.weight"):
        assert words in details
    assert dom.count("linked") >= 2


def test_hostile_names_run_nothing(tmp_path: Path) -> None:
    attack = "document.documentElement.setAttribute('pwned', '1')"
    names = (f"<img src=x onerror={attack}>", f"</script><script>{attack}</script>", f'"><svg onload="{attack}">')
    nodes = tuple(
        Node(op="linear", name=f"{name}.w{at}", slot=f"{name}.w{at}", shape=(1, 1), attributes={name: name})
        for at, name in enumerate(names * 2)
    )
    edges = np.array([(at, at + 1) for at in range(len(nodes) - 1)], dtype=np.int64)
    dom = page_after(draw_html(Graph(nodes, edges, "a test"), title=names[1]), "search=script&node=1", tmp_path)
    assert not re.search(r"<html[^>]*pwned", dom)
    assert re.search(r'<output id="count"[^>]*>1 of 2<', dom)
