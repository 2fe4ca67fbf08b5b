"""The page in a real Chromium: by keyboard, on a phone, in the dark, and under an accessibility checker."""

import json
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import paramgen
from tests.support.chromium import EXECUTABLE, Page, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(EXECUTABLE is None, reason="there is no Chromium: apt-get install chromium"),
]
Graphs = Callable[..., dict[str, Any]]
DONE = "document.getElementById('status').textContent == 'All tensors are predicted'"
AXE = """axe.run(document, {resultTypes: ['violations'], iframes: false}).then((all) => JSON.stringify([
all.passes.length,
all.violations.map((one) => [one.id, one.impact, one.nodes.map((node) => node.failureSummary)])]))"""
DRAWN = "!document.getElementById('drawing').hidden"


@pytest.fixture(scope="module")
def url(serve: Callable[..., Any]) -> str:
    return str(serve().url)


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    with chromium() as found:
        found.screen(1280, 900)
        found.open(url)
        found.until("document.querySelectorAll('#initializers input').length > 3")
        yield found
        assert found.complaints() == []


def focused(page: Page) -> str:
    return str(page.run("document.activeElement.id || document.activeElement.name || document.activeElement.tagName"))


def text(page: Page, id: str) -> str:
    return str(page.run(f"document.getElementById('{id}').textContent"))


def test_words_in_place_of_an_architecture(page: Page) -> None:
    assert page.run("document.getElementById('prompt-field').hidden")
    page.run("document.querySelector('#initializers input[value=diffusion]').click()")
    page.run("document.getElementById('prompt').focus(); document.getElementById('prompt').select()")
    page.type("sepia, then blur")
    page.press("Enter")
    page.until(DONE)
    assert "diffusion" in text(page, "facts")
    assert "sepia, then blur" in text(page, "command")
    assert "prompt=sepia" in str(page.run("location.hash"))


def test_by_keyboard_from_the_name_to_a_file_that_loads(page: Page, tmp_path: Path) -> None:
    behavior = {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": True}
    page.send("Browser.setDownloadBehavior", **behavior)
    page.run("document.getElementById('arch').focus(); document.getElementById('arch').select()")
    page.type("vit_b1")
    page.press("ArrowDown")
    assert page.run("document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).textContent")
    page.press("Enter")
    page.run("document.getElementById('arch').select()")
    page.type("vit_ti16")
    page.press("Escape")
    assert text(page, "alias").startswith("transformers:vit?hidden_size=192")
    page.press("Enter")
    page.until(DONE)
    page.until(DRAWN)
    assert page.run("document.querySelectorAll('#distributions path.band').length") > 6
    assert page.run("document.querySelectorAll('#spectra path.curve').length") == 25  # 24, and the one picked again
    assert "from_pretrained('weights')" in text(page, "loading")
    page.run("document.getElementById('distributions').focus()")
    page.press("Home")
    page.until("document.querySelector('#layer h3').textContent == 'vit.embeddings.position_embeddings'")
    page.press("ArrowLeft")
    page.run("document.getElementById('weights').focus()")
    page.press("Enter")
    file = tmp_path / "model.safetensors"
    for _ in range(600):
        if file.is_file():
            break
        time.sleep(0.1)
    expected = paramgen.predict("vit_ti16").state_dict()
    found = load_file(file)
    assert found.keys() == expected.keys()
    assert all((found[name] == tensor).all() for name, tensor in expected.items())


def test_everything_can_be_reached_with_tab(page: Page) -> None:
    page.run("document.body.focus()")
    reached = []
    for _ in range(14):
        page.press("Tab")
        reached.append(focused(page))
    assert [name for name in reached if name in ("input", "arch", "set", "init", "seed", "dtype", "predict")] == [
        "input", "arch", "set", "init", "seed", "dtype", "predict",
    ]  # fmt: skip


def test_hostile_names_are_only_text(page: Page, graphs: Graphs) -> None:
    evil = "<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"
    graph = graphs()
    slot = graph["slots"][0]["name"]
    sent = json.dumps(graph).replace(json.dumps(slot), json.dumps(evil))
    sent = sent.replace(json.dumps(graph["spec"]), json.dumps(evil))
    page.run("document.querySelector('[name=input][value=graph]').click()")
    page.run("document.getElementById('graph').focus()")
    page.type(sent)
    page.run("document.getElementById('predict').click()")
    page.until(DONE)
    page.until(DRAWN)
    page.run("document.getElementById('table-card').open = true")
    assert text(page, "spec") == evil
    assert evil in text(page, "rows")
    assert page.run("document.title") == "paramgen"
    assert page.run("document.querySelectorAll('#result img, #result script').length") == 0


def test_a_refusal_is_said_and_the_page_goes_on(page: Page) -> None:
    page.run("document.getElementById('arch').value = 'vit_b17'; document.getElementById('predict').click()")
    page.until("!document.getElementById('problem').hidden")
    assert "vit_b16" in text(page, "problem")
    page.run("document.getElementById('set').value = 'nonsense'; document.getElementById('predict').click()")
    page.until("document.getElementById('problem').textContent.includes('KEY=VALUE')")
    assert not page.run("document.getElementById('predict').disabled")
    refused = [one for one in page.complaints() if "422" in one]
    page._events = [one for one in page._events if "422" not in json.dumps(one)]
    assert len(refused) == 1  # the browser itself logs the answer


def axe(folder: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with")
    command = [npm, "pack", "axe-core@4.14.1", "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        pytest.skip("the npm registry cannot be reached")
    with tarfile.open(folder / done.stdout.strip()) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def test_no_serious_finding_of_accessibility(page: Page, tmp_path: Path) -> None:
    script = axe(tmp_path)
    page.run("document.getElementById('arch').value = 'vit_ti16'; document.getElementById('predict').click()")
    page.until(DONE)
    page.until(DRAWN)
    page.run("document.getElementById('table-card').open = true")
    page.run(f"{script}; 0")
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light")):
        page.screen(width, 844, scheme=scheme)
        passes, violations = json.loads(page.run(AXE))
        assert passes > 20
        assert [one for one in violations if one[1] in ("serious", "critical")] == []
        assert page.run("document.documentElement.scrollWidth") <= width  # nothing to scroll sideways
