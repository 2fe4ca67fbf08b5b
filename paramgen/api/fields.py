"""Public functions of fields: pictures as small networks. Importing this module loads no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paramgen.api.types import FittedField, RenderedField
    from paramgen.prediction.progress import Progress


def fit_field(
    image: str | Path,
    file: str | Path,
    *,
    latent: int = 4000,
    width: int | None = None,
    layers: int = 5,
    steps: int = 2000,
    size: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: "Progress | bool | None" = None,
) -> "FittedField":
    """Fit a field to a picture: a small network whose weights are random projections of one latent vector (D'OH).

    >>> paramgen.fit_field("photo.jpg", "photo.field", latent=2000, size="128").psnr

    Args:
        image: The picture's file.
        file: The field's, a little more than a byte for each entry of the latent vector.
        latent: Length of the latent vector.
        width: Of the network's hidden layers; without it, that with four weights for each entry of the latent vector.
            A wider network costs a byte for each bias; its weights cost nothing.
        layers: How many hidden layers.
        steps: Of the fitting.
        size: The longer side that the picture is scaled to first, or width and height: "128", "640x480".
        seed: Of the projections and what the latent vector begins with; it is stored.
        overwrite: Replace the file.
        progress: As for `write`; it is called with the error, the steps done and all steps.

    """
    from paramgen.fields.files import fit_file
    from paramgen.prediction.progress import reporting

    with reporting(progress) as report:
        return fit_file(
            Path(image),
            Path(file),
            latent=latent,
            width=width,
            layers=layers,
            steps=steps,
            size=size,
            seed=seed,
            overwrite=overwrite,
            report=report,
        )


def render_field(
    file: str | Path, picture: str | Path, *, size: str | None = None, overwrite: bool = False
) -> "RenderedField":
    """Write the picture of a field as a PNG, of the size it was fitted to or of any other.

    >>> paramgen.render_field("photo.field", "photo.png", size="512").width

    Args:
        file: What `fit_field` wrote; it may be anybody's.
        picture: The file to write, which ends in `.png`.
        size: The longer side in pixels, or width and height: "512", "640x480".
        overwrite: Replace the picture.

    """
    from paramgen.fields.files import render_file

    return render_file(Path(file), Path(picture), size=size, overwrite=overwrite)
