"""`paramgen push`, and what `paramgen predict --push` shares with it: parses, calls the library, and prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from paramgen.cli.options import Json, Quiet
from paramgen.errors import OptionError

if TYPE_CHECKING:
    from paramgen.cli.output import Reporter
    from paramgen.hub.commit import Pushed, Target
    from paramgen.output.write import Written

Public = Annotated[bool, typer.Option("--public", help="Let everybody see it; a new repository is private otherwise.")]
Revision = Annotated[str | None, typer.Option("--revision", metavar="BRANCH", help="Push to a branch; made if new.")]
PullRequest = Annotated[bool, typer.Option("--pr", help="Open a pull request instead of changing the branch.")]
Message = Annotated[str | None, typer.Option("--message", metavar="TEXT", help="Of the commit.")]


def push(
    folder: Annotated[Path, typer.Argument(help="A folder that predict wrote, or a hypernet's or pipeline's.")],
    repo: Annotated[str, typer.Argument(help="A model repository of the Hub, OWNER/NAME; made if new.")],
    *,
    public: Public = False,
    revision: Revision = None,
    pr: PullRequest = False,
    message: Message = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Push a folder to the Hugging Face Hub, in one commit or not at all.

    The folder is checked before, the files on the Hub are compared after. What is there already is not sent again.

    [dim]paramgen push start me/vit-start
    paramgen push start me/vit-start --revision seed-1
    paramgen push start lab/vit-start --pr --message "Another start"[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    target = target_of(repo, public=public, revision=revision, pr=pr)
    with reporter.transfer() as advance:
        from paramgen.output.push import push_folder

        found, pushed = push_folder(folder, target, message=message, progress=advance)
    reporter.pushed(pushed, found.source, found.config)


def target_of(repo: str, *, public: bool, revision: str | None, pr: bool) -> "Target":
    """Return where to push; what cannot be pushed to is found later."""
    from paramgen.hub.commit import Target

    return Target(repo=repo, public=public, revision=revision, pr=pr)


def early_target(
    repo: str | None, *, public: bool, revision: str | None, pr: bool, message: str | None
) -> "Target | None":
    """Return where predict is to push, if it is, once the Hub has said that it can be."""
    if repo is None:
        if public or pr or revision is not None or message is not None:
            raise OptionError("--public, --revision, --pr and --message need --push. Type: --push OWNER/NAME")
        return None
    from paramgen.hub.commit import checked_target

    return checked_target(target_of(repo, public=public, revision=revision, pr=pr))


def push_written(written: "Written", target: "Target", message: str | None, reporter: "Reporter") -> "Pushed":
    """Push what predict has just written and, as a rule, checked."""
    with reporter.transfer() as advance:
        from paramgen.output.push import push_folder

        checked = written.checked is not None
        return push_folder(written.folder, target, message=message, checked=checked, progress=advance)[1]
