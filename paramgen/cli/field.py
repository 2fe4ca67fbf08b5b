"""`paramgen field`: pictures as small networks, and back."""

from pathlib import Path
from typing import Annotated

import typer

from paramgen.cli.options import Json, Quiet

app = typer.Typer(no_args_is_help=True, help="Pictures as small networks of a few kilobytes: fit one, render it.")

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]


@app.command()
def fit(
    image: Annotated[Path, typer.Argument(help="The picture: a JPEG, PNG, ...", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.", show_default=False)],
    latent: Annotated[int, typer.Option("--latent", help="Length of the latent vector: a byte for each entry.")] = 4000,
    width: Annotated[
        int | None, typer.Option("--width", help="Of the network's hidden layers; without it, what suits --latent.")
    ] = None,
    layers: Annotated[int, typer.Option("--layers", help="How many hidden layers.")] = 5,
    steps: Annotated[int, typer.Option("--steps", help="Of the fitting.")] = 2000,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="PIXELS|WxH", help="Scale the picture first: its longer side, or both."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random projections; it is stored.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a field to a picture, and say how near it came (PSNR) and how many bytes it has.

    The network's weights are fixed random projections of one latent vector, which is all that is stored, with the
    biases and the seed (D'OH).

    [dim]paramgen field fit photo.jpg --size 128 --latent 4000 --out photo.field
    paramgen field render photo.field --out photo.png[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.counted("Fitting") as advance:
        from paramgen import api

        fitted = api.fit_field(
            image,
            out,
            latent=latent,
            width=width,
            layers=layers,
            steps=steps,
            size=size,
            seed=seed,
            overwrite=overwrite,
            progress=advance,
        )
    reporter.record(fitted.to_json())


@app.command()
def render(
    file: Annotated[Path, typer.Argument(help="What field fit wrote.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The PNG to write.", show_default=False)],
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="PIXELS|WxH", help="The longer side, or width and height; else the picture's."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Render a field as a PNG, of its picture's size or of any other.

    [dim]paramgen field render photo.field --size 1024 --out large.png[/dim]
    """
    from paramgen.cli.output import Reporter

    reporter = Reporter(as_json=as_json, quiet=quiet)
    with reporter.stage("Rendering"):
        from paramgen import api

        rendered = api.render_field(file, out, size=size, overwrite=overwrite)
    reporter.record(rendered.to_json())
