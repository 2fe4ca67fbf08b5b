"""The schemas of requests, and the examples that the API's description shows."""

from typing import Annotated, Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from paramgen.errors import OptionError, one_line
from serve.problems import Problem

Dtype = Literal["float32", "bfloat16", "float16"]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]

EXAMPLES: dict[str, Any] = {
    "a name": {"value": {"arch": "vit_b16", "set": {"num_labels": 37}, "init": "auto", "seed": 0}},
    "a graph": {
        "summary": "what `paramgen graph --out g.json` wrote",
        "value": {
            "graph": {
                "paramgen_graph": 1,
                "spec": "two.py:build",
                "traced_by": "fake tensors",
                "layout": {
                    "source": "module",
                    "config": {},
                    "weights_file": "model.safetensors",
                    "shardable": True,
                    "tied": "once",
                    "dtype_key": None,
                },
                "nodes": [{"op": "linear", "name": "weight", "slot": "weight", "shape": [2, 3], "attributes": {}}],
                "edges": [],
                "slots": [
                    {
                        "name": "weight",
                        "shape": [2, 3],
                        "dtype": "float32",
                        "kind": "parameter",
                        "owner": "",
                        "owner_type": "torch.nn.modules.linear.Linear",
                        "tied_to": None,
                        "init_program": None,
                    }
                ],
            },
            "init": "he",
            "dtype": "bfloat16",
        },
    },
    "a prompt": {"value": {"prompt": "pencil sketch with warm tint"}},
    "a recipe": {"value": {"arch": "gpt2", "init": "library", "as": "recipe"}},
    "a folder": {"value": {"arch": "timm:resnet18", "init": "orthogonal?gain=1.0", "as": "folder"}},
}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NetworkRequest(_Closed):
    """A network by its name."""

    arch: Text = Field(description="An alias, or source:name; see /v1/architectures.")
    overrides: dict[str, Any] = Field(default={}, alias="set", description="Entries of its config.")


@final
class PredictRequest(_Closed):
    """A network, by its name or its graph, and how to fill it."""

    arch: Text | None = Field(default=None, description="An alias, or source:name; see /v1/architectures.")
    overrides: dict[str, Any] = Field(default={}, alias="set", description="Entries of a named network's config.")
    graph: dict[str, Any] | None = Field(default=None, description="What `paramgen graph` writes, instead of `arch`.")
    init: Text = Field(default="auto", description="An initializer and its options; see /v1/initializers.")
    prompt: Text | None = Field(
        default=None,
        description="What the network is to do, in words, for the initializer `diffusion`, which has its own network.",
    )
    then: list[Text] = Field(
        default=[], max_length=8, description="Modifiers of what the initializer makes; see /v1/modifiers."
    )
    spelling: str | None = Field(
        default=None,
        min_length=1,
        description="How the network's tokens are spelled in bytes, as paramgen sends it with --tokenizer.",
    )
    seed: Seed = 0
    dtype: Dtype | None = Field(default=None, description="Of floating-point tensors; else the network's own.")
    form: Literal["weights", "folder", "recipe"] = Field(
        default="weights",
        alias="as",
        description="The safetensors file, a zip of the folder that predict writes, or the recipe that paramgen "
        "restore makes this folder of: JSON with the graph, the initializer, and the digest of all tensors.",
    )
    push: Text | None = Field(
        default=None, description="A Hub repository, OWNER/NAME, to push the folder to; needs the header X-Hub-Token."
    )


def validated(kind: type[BaseModel], data: Any) -> Any:
    """Return `data` as a request of this kind, or say in one line what is wrong with it."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Problem(422, one_line(f"{where}: {first['msg']}. Allowed: see /docs")) from error


def checked_form(request: PredictRequest) -> PredictRequest:
    """Return the request, once what it is to push is a folder."""
    if request.push is not None and request.form != "folder":
        raise OptionError('What is pushed is a folder: add "as": "folder"')
    return request
