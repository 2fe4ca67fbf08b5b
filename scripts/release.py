"""Refuse a release whose places disagree, and write the notes of one whose places agree.

python scripts/release.py v1.2.3 --repository https://github.com/OWNER/NAME [--notes FILE]

The version is written in pyproject.toml alone; everything else asks the installed package. A release also needs a
dated section of the changelog, a tag of the same name, and addresses that are the releasing repository's own. Nothing
needs to be installed for it.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
HEADING: Final = re.compile(r"^## \[(?P<version>[^]]+)\] - (?P<date>.+)$", re.MULTILINE)
CATEGORIES: Final = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """Return the date and the text of each version, newest first."""
    found = list(HEADING.finditer(changelog))
    ends = [heading.start() for heading in found[1:]] + [len(changelog)]
    return {
        heading["version"]: (heading["date"], changelog[heading.end() : end].strip())
        for heading, end in zip(found, ends, strict=True)
    }


def faults(tag: str, repository: str, project: Mapping[str, Any], changelog: str) -> list[str]:
    """Return what stands against releasing `tag` from `repository`, each with what to do."""
    found = []
    version = project["version"]
    if tag != f"v{version}":
        found.append(f"The tag is {tag!r}, but pyproject.toml says {version!r}: tag v{version}, or change the version.")
    date, text = sections(changelog).get(version, ("", ""))
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", date):
        found.append(f"CHANGELOG.md has no line '## [{version}] - YYYY-MM-DD'; its date is {date or 'missing'!r}.")
    elif not text:
        found.append(f"CHANGELOG.md says nothing under {version}.")
    if next(iter(sections(changelog)), None) != version:
        found.append(f"The newest version of CHANGELOG.md is not {version}: move its section to the top.")
    for name, address in project["urls"].items():
        if address != repository and not address.startswith(f"{repository}/"):
            found.append(f"[project.urls] {name} is {address}, which is not of {repository}: correct it.")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what is wrong and return 1, or write the notes and return 0."""
    parser = argparse.ArgumentParser(description="Check that a release's places agree.")
    parser.add_argument("tag")
    parser.add_argument("--repository", required=True, help="address of the repository that releases")
    parser.add_argument("--notes", type=Path, help="where the version's section of the changelog is written")
    given = parser.parse_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = faults(given.tag, given.repository, project, changelog)
    for fault in found:
        print(f"error: {fault}", file=sys.stderr)
    if not found and given.notes is not None:
        given.notes.write_text(sections(changelog)[project["version"]][1] + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
