"""Better initial weights for any architecture: predict them, write them where the library reads them, load them."""

from importlib.metadata import version as _version

from paramgen.api import card as card
from paramgen.api import check as check
from paramgen.api import compare as compare
from paramgen.api import convert as convert
from paramgen.api import create as create
from paramgen.api import diagnose as diagnose
from paramgen.api import donors as donors
from paramgen.api import fit_field as fit_field
from paramgen.api import graph as graph
from paramgen.api import info as info
from paramgen.api import initialize_ as initialize_
from paramgen.api import load as load
from paramgen.api import masked as masked
from paramgen.api import plan as plan
from paramgen.api import predict as predict
from paramgen.api import prepare as prepare
from paramgen.api import push as push
from paramgen.api import recipe as recipe
from paramgen.api import render_field as render_field
from paramgen.api import rescale_ as rescale_
from paramgen.api import restorable as restorable
from paramgen.api import restore as restore
from paramgen.api import shared as shared
from paramgen.api import trace as trace
from paramgen.api import train_tokenizer as train_tokenizer
from paramgen.api import unmasked as unmasked
from paramgen.api import write as write
from paramgen.errors import ParamgenError as ParamgenError

__version__ = _version("paramgen")

__all__ = [
    "ParamgenError",
    "card",
    "check",
    "compare",
    "convert",
    "create",
    "diagnose",
    "donors",
    "fit_field",
    "graph",
    "info",
    "initialize_",
    "load",
    "masked",
    "plan",
    "predict",
    "prepare",
    "push",
    "recipe",
    "render_field",
    "rescale_",
    "restorable",
    "restore",
    "shared",
    "trace",
    "train_tokenizer",
    "unmasked",
    "write",
]
