"""The documentation site: it builds without a warning, needs no network, and every link in it leads somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import paramgen
from scripts import readme_picture

ROOT = Path(__file__).parents[2]
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "object": "data"}
pytestmark = pytest.mark.slow


class Reader(HTMLParser):
    """What a page points to, what it loads, and the names of its places."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        if place := given.get("id") or given.get("name"):
            self.places.add(place)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if LOADED.get(tag) in given:
            self.loaded.append(given[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    environment = os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return folder


def test_the_site_is_whole(site: Path) -> None:
    pages = {page.relative_to(site): Reader(page) for page in site.rglob("*.html")}
    assert len(pages) >= 20
    for name, reader in pages.items():
        for link in (*reader.links, *reader.loaded):
            parts = urlsplit(link)
            if parts.scheme:
                assert link in reader.links, f"{name} loads {link}"
                continue
            assert not parts.netloc, f"{name}: {link}"
            target = (site / name.parent / unquote(parts.path)).resolve() if parts.path else site / name
            if name == Path("404.html"):
                target = site / unquote(parts.path).lstrip("/") if parts.path else target
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{name}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target.relative_to(site)].places, f"{name}: {link}"


def test_the_reference_has_every_public_name_and_every_option(site: Path) -> None:
    places = Reader(site / "reference" / "python.html").places
    assert {f"paramgen.{name}" for name in paramgen.__all__} - {"paramgen.ParamgenError"} <= places
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "&gt;&gt;&gt;" in python and "<blockquote>" not in python  # an example is code, not three quotations
    command = (site / "reference" / "command.html").read_text(encoding="utf-8")
    assert all(
        f"<code>{option}" in command for option in ("--arch NAME", "--tokenizer", "--memory", "--seeds", "FOLDER")
    )


def test_the_site_and_the_page_of_the_service_look_alike() -> None:
    mark, style = (ROOT / "serve" / "static" / name for name in ("mark.svg", "style.css"))
    assert (ROOT / "docs" / "logo.svg").read_bytes() == mark.read_bytes()
    light, dark = re.findall(r"--accent: (#\w+);", style.read_text(encoding="utf-8"))
    ours = (ROOT / "docs" / "site.css").read_text(encoding="utf-8")
    assert re.findall(r"--md-accent-fg-color: (#\w+);", ours) == [light, dark]
    assert [readme_picture.THEMES[theme]["hypernet"] for theme in ("light", "dark")] == [light, dark]


def test_results_are_those_of_the_files(site: Path) -> None:
    page = (site / "results.html").read_text(encoding="utf-8")
    card = (site / "cards" / "vision.html").read_text(encoding="utf-8")
    rows = [line for line in card.splitlines() if "<code>timm-" in line or "<code>own-" in line]
    assert rows and page.count("<svg") >= len(rows)
    assert "<!--" not in page.partition("<article")[2].partition("</article>")[0]  # a directive that was not replaced
