"""`paramgen push`: a folder to the Hugging Face Hub; its options are those of `paramgen predict --push`, too."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet

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

    [dim]paramgen push weights me/vit-weights
    paramgen push weights me/vit-weights --revision seed-1
    paramgen push weights lab/vit-weights --pr --message "Another seed"[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.progress("Checking") as progress:
        from paramgen import api

        pushed = api.push(folder, repo, public=public, revision=revision, pr=pr, message=message, progress=progress)
    reporter.pushed(pushed)
