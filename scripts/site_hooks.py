"""What mkdocs builds the site from besides `docs/`: the repository's own documents, the command's help, the results.

A line `<!-- include: training/README.md -->` in a page stands for that document, `...#Heading` for a section of it, and
`<!-- results: starts -->`, `<!-- command: predict -->`, `<!-- python: -->` for what is generated. A document's name in
backticks becomes a link to its page. Each initializer and modifier has a page of its own (`site_initializers.py`).
"""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts import site_initializers
from scripts.site_command import command_reference
from scripts.site_results import result

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENTS: Final = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "RELEASING.md": "releasing.md",
    "SECURITY.md": "security.md",
    "training/LOG.md": "training-log.md",
}
"""Document → page that is this document."""

PAGES: Final = {**DOCUMENTS, "README.md": "index.md", "training/README.md": "training.md"}
_SHIM: Final = "https://unpkg.com/iframe-worker/shim"
_DIRECTIVE: Final = re.compile(r"^<!-- (\w+): ?(.*?) ?-->$", re.MULTILINE)
_FENCED: Final = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)
_FRONT: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Name every card, and every initializer, in the navigation."""
    tabs = {name: pages for entry in config.nav or () if isinstance(entry, dict) for name, pages in entry.items()}
    tabs["Results"].extend({f"Card: {Path(page).stem}": page} for page in cards().values())
    tabs["Reference"].append({"Initializers by name": site_initializers.navigation()})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each document and card, and for each initializer and modifier."""
    for document, page in {**DOCUMENTS, **cards()}.items():
        files.append(File.generated(config, page, content=_FRONT.sub("", _read(document))))
    for page in site_initializers.pages():
        files.append(File.generated(config, page, content=site_initializers.markdown_of(page)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace directives by what they stand for, and names of documents by links."""
    markdown = _DIRECTIVE.sub(lambda match: _generated(match[1], match[2]), markdown)
    markdown = site_initializers.linked(markdown, page.file.src_uri)
    parts = _FENCED.split(markdown)
    parts[::2] = [_linked(part, page.file.src_uri) for part in parts[::2]]
    return "".join(parts)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Take the shim that lets a search run without a server from the site itself."""
    return output.replace(_SHIM, posixpath.relpath("iframe-worker.js", posixpath.dirname(page.file.src_uri) or "."))


def on_post_template(output_content: str, template_name: str, config: MkDocsConfig) -> str:
    """Do the same on the page for addresses that are none."""
    return output_content.replace(_SHIM, "iframe-worker.js")


def cards() -> dict[str, str]:
    """Return card → page."""
    return {f"cards/{path.name}": f"cards/{path.name}" for path in sorted((ROOT / "cards").glob("*.md"))}


def section(document: str, heading: str) -> str:
    """Return what stands below a heading of a document, up to the next of its level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", _read(document), re.MULTILINE | re.DOTALL)
    if found is None:
        raise PluginError(f"{document} has no heading '## {heading}', which a page includes.")
    return found[1].strip()


def _generated(kind: str, argument: str) -> str:
    makers: dict[str, Callable[[str], str]] = {
        "include": _included,
        "command": command_reference,
        "python": _python_reference,
        "results": result,
    }
    if kind not in makers:
        raise PluginError(f"Unknown directive {kind!r}. Known: {', '.join(makers)}.")
    return makers[kind](argument)


def _included(argument: str) -> str:
    document, _, heading = argument.partition("#")
    return section(document, heading) if heading else _read(document).partition("\n")[2].strip()


def _python_reference(_: str) -> str:
    import paramgen

    names = [name for name in paramgen.__all__ if name != "ParamgenError"]
    return "\n\n".join(f"::: paramgen.{name}" for name in names)


def _linked(text: str, source: str) -> str:
    def link(match: re.Match[str]) -> str:
        page = {**PAGES, **cards()}.get(match[1])
        if page is None or page == source:
            return match[0]
        return f"[{match[0]}]({posixpath.relpath(page, posixpath.dirname(source) or '.')})"

    return re.sub(r"(?<!\[)`([\w./-]+\.md)`", link, text)


def _read(document: str) -> Any:
    return (ROOT / document).read_text(encoding="utf-8")
