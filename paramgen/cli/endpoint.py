"""`paramgen endpoint`: writes the folder of a Hugging Face Inference Endpoint, and creates one."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet

app = typer.Typer(
    no_args_is_help=True, help="Serve predictions on Hugging Face Inference Endpoints: export a folder, push, create."
)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The folder to write.", show_default=False)],
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that this command wrote.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the folder of an endpoint: handler.py, requirements.txt, README.md and the package itself.

    [dim]paramgen endpoint export endpoint
    hf upload me/weights endpoint[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Writing"):
        from paramgen import api

        written = api.export_endpoint(folder, overwrite=overwrite)
    reporter.record({"folder": str(folder), "files": written, "next": f"hf upload OWNER/NAME {folder}"})


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Of the endpoint.", show_default=False)],
    *,
    repository: Annotated[
        str,
        typer.Option("--repository", metavar="OWNER/NAME", show_default=False, help="Where the exported folder is."),
    ],
    revision: Annotated[str | None, typer.Option("--revision", metavar="COMMIT", help="Of the repository.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", help="Who pays, if not the token's owner.")] = None,
    vendor: Annotated[str, typer.Option("--vendor")] = "aws",
    region: Annotated[str, typer.Option("--region")] = "us-east-1",
    accelerator: Annotated[str, typer.Option("--accelerator", metavar="cpu|gpu")] = "cpu",
    instance_type: Annotated[str, typer.Option("--instance-type")] = "intel-spr",
    instance_size: Annotated[str, typer.Option("--instance-size")] = "x2",
    min_replicas: Annotated[int, typer.Option("--min-replicas", help="0: it sleeps when there is no request.")] = 0,
    max_replicas: Annotated[int, typer.Option("--max-replicas")] = 1,
    kind: Annotated[str, typer.Option("--type", metavar="authenticated|private|public")] = "authenticated",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be created; ask nobody.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Create an endpoint from a repository that holds what export wrote. It costs money while it runs.

    [dim]paramgen endpoint create weights --repository me/weights --dry-run
    paramgen endpoint create weights --repository me/weights --instance-size x4[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Reading" if dry_run else "Creating"):
        from paramgen import api

        made = api.create_endpoint(
            name,
            repository,
            dry_run=dry_run,
            revision=revision,
            namespace=namespace,
            vendor=vendor,
            region=region,
            accelerator=accelerator,
            instance_type=instance_type,
            instance_size=instance_size,
            min_replica=min_replicas,
            max_replica=max_replicas,
            type=kind,
        )
    reporter.record(made)
