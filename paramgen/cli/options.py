"""Options that several commands take, and how their texts are read."""

from pathlib import Path
from typing import Annotated, Any

import typer

from paramgen.errors import OptionError
from paramgen.registry import Spec
from paramgen.registry.chains import join_chain, split_chain

Arch = Annotated[
    str,
    typer.Option(
        "--arch",
        metavar="NAME",
        show_default=False,
        help="An alias (vit_b16), source:name (timm:resnet18), file.py:factory, package.module:factory, a config.json, "
        "org/model of the Hub, or a graph.json.",
    ),
]
OwnArch = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="An alias (vit_b16), source:name (timm:resnet18), file.py:factory, package.module:factory, a config.json, "
        "org/model of the Hub, or a graph.json. With --init diffusion it may be left out.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the config: --set num_labels=37. Repeatable."),
]
ExampleInput = Annotated[
    str | None,
    typer.Option(
        "--example-input",
        metavar="SHAPE|FILE.PY:FN",
        help="What the forward pass takes, if it cannot be known: 2x3x32x32, '2x16:long', or a function in a file.",
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
Then = Annotated[
    list[str] | None,
    typer.Option(
        "--then",
        metavar="MODIFIER",
        help="Change the weights that --init makes: lowrank:8, blocks, scale:0.1, ...: paramgen list modifiers. "
        "Repeatable, in this order; --init 'he|lowrank:8' says the same.",
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
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="folder|recipe",
        help="recipe: instead of weights, a small JSON file that paramgen restore makes the folder of.",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="nf4|int8|int4|fp4",
        help="For sending: round weights to few bits, in blocks of 64 (nf4?block=32), and store them so; paramgen "
        "restore makes the ordinary folder.",
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="DIR|FILE|REPO|none",
        help="Of transformers: the network reads its tokens, and its config follows it; copied into the folder.",
    ),
]
ImageProcessor = Annotated[
    str | None,
    typer.Option("--image-processor", metavar="DIR|REPO", help="Of transformers: copy this image processor, too."),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="An error, not a warning: a network whose forward pass cannot be followed; a layer that --then empties.",
    ),
]
TraceTimeout = Annotated[
    float, typer.Option("--trace-timeout", metavar="SECONDS", help="End a forward pass that does not return.")
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--endpoint", metavar="URL", help="A server that predicts; only the graph is sent. Key: PARAMGEN_KEY."
    ),
]

PushTo = Annotated[
    str | None,
    typer.Option("--push", metavar="REPO", help="Push to the Hub, too; without --out, nothing is kept here."),
]
LicenseAllow = Annotated[
    list[str] | None,
    typer.Option(
        "--license-allow",
        metavar="LICENSE",
        help="A licence that a donor may be under, such as apache-2.0. Repeatable; without it, all that allow any use.",
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="With --init inherit, without a donor: download the nearest one without a question."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def parsed_overrides(assignments: list[str] | None) -> dict[str, Any]:
    """Return the values of `--set key=value`."""
    from paramgen.registry.overrides import parse_overrides

    return parse_overrides(assignments or ())


def parsed_example(text: str | None) -> Any:
    """Return the value of `--example-input`, or None where it was not typed."""
    if text is None:
        return None
    from paramgen.architectures.inputs import parse_example_input

    return parse_example_input(text)


def inherit_options(init: str, *, yes: bool, license_allow: list[str] | None) -> str:
    """Return `--init` with what `--yes` and `--license-allow` say of the donor.

    Raises:
        OptionError: Another initializer is named, which has no donor.

    """
    given = {"yes": "true"} if yes else {}
    given |= {"license_allow": ",".join(license_allow)} if license_allow else {}
    if not given:
        return init
    first, then = split_chain(init)
    if Spec.parse(first.partition("?")[0]).kind != "inherit":
        option = "--yes" if yes else "--license-allow"
        raise OptionError(f"{option} is about the donor of --init inherit; given was --init {init}. Leave it out")
    options = "&".join(f"{key}={value}" for key, value in given.items())
    return join_chain(f"{first}{'&' if '?' in first else '?'}{options}", then)


def folder_name(arch: str) -> str:
    """Return a folder's name made from what was typed: `timm:resnet18` becomes `timm-resnet18`; it may be empty."""
    name = arch.partition("?")[0]
    stem = Path(name.rpartition(":")[0]).stem if ".py:" in name else Path(name).stem if name.endswith(".json") else name
    return "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in stem).strip("-.")
