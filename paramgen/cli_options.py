"""What `paramgen predict` can be told about the folder that it writes."""

from pathlib import Path
from typing import Annotated

import typer

Init = Annotated[
    str,
    typer.Option(
        "--init",
        metavar="SPEC",
        help="auto (what measured best for such networks), hypernet, hypernet:FOLDER_FILE_OR_REPO, library, he, "
        "lsuv:FOLDER, ...: paramgen list initializers.",
    ),
]
Dtype = Annotated[
    str | None, typer.Option("--dtype", metavar="DTYPE", help="float32, bfloat16, float16; else the library's own.")
]
MaxShard = Annotated[
    str, typer.Option("--max-shard", metavar="SIZE", help="Largest weights file, where the library reads several.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The folder to write. Without it, named after the architecture.")
]
Tokenizer = Annotated[
    str | None,
    typer.Option("--tokenizer", metavar="DIR|FILE|REPO", help="Of transformers: copy this tokenizer into the folder."),
]
ImageProcessor = Annotated[
    str | None,
    typer.Option("--image-processor", metavar="DIR|REPO", help="Of transformers: copy this image processor, too."),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint", metavar="URL", help="A server that predicts; only the graph is sent. Key: PARAMGEN_KEY."
    ),
]
