"""What `paramgen predict` can be told: the network, its start, and the folder that is written."""

from pathlib import Path
from typing import Annotated

import typer

Arch = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="NAME",
        show_default=False,
        help="An alias (vit_b16), source:name (timm:resnet18), file.py:factory, a config.json, or a graph.json.",
    ),
]
OwnArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="An alias (vit_b16), source:name (timm:resnet18), file.py:factory, a config.json, or a graph.json. With "
        "--init diffusion it may be left out.",
    ),
]
Init = Annotated[
    str,
    typer.Option(
        "--init",
        metavar="SPEC",
        help="auto (what measured best for such networks), hypernet, hypernet:FOLDER_FILE_OR_REPO, library, he, "
        "lsuv:FOLDER, diffusion, ...: paramgen list initializers.",
    ),
]
Prompt = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        metavar="WORDS",
        help="What the network is to do, for --init diffusion. Repeated: other words for the same.",
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
    typer.Option(
        "--tokenizer",
        metavar="DIR|FILE|REPO",
        help="Of transformers: the network reads its tokens; copied into the folder.",
    ),
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
