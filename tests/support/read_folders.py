"""Read folders with their own libraries, as somebody without paramgen does, and print what came of it.

A program of its own: it gets its cases as JSON on stdin. `own` is the user's file, on PYTHONPATH.
"""

import importlib
import json
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

Case = dict[str, Any]


def transformers(case: Case, folder: Path) -> Any:
    library = importlib.import_module("transformers")
    automatic = getattr(library, case["auto"]).from_pretrained(folder)
    model, info = type(automatic).from_pretrained(folder, output_loading_info=True)
    assert not any(info.values()), info
    return model


def timm(case: Case, folder: Path) -> Any:
    library = importlib.import_module("timm")
    model = library.create_model(f"local-dir:{folder}", pretrained=True)
    size = library.data.resolve_model_data_config(model)["input_size"]
    assert list(size) == list(load_file(case["probe"])["0"].shape[1:]), size
    return model


def diffusers(case: Case, folder: Path) -> Any:
    library = importlib.import_module("diffusers")
    dtype = getattr(torch, case["dtype"])
    kind = type(library.AutoModel.from_pretrained(str(folder)))
    model, info = kind.from_pretrained(folder, torch_dtype=dtype, output_loading_info=True)
    assert not any(info.values()), info
    return model


def torchvision(case: Case, folder: Path) -> Any:
    models = importlib.import_module("torchvision.models")
    config = json.loads((folder / "config.json").read_text())
    model = models.get_model(config["architecture"], weights=None, **config["arguments"])
    model.load_state_dict(load_file(folder / "model.safetensors"), assign=True)
    return model


def module(case: Case, folder: Path) -> Any:
    hub, own = importlib.import_module("huggingface_hub"), importlib.import_module("own")
    if case["class"] == "Mixed":
        return own.Mixed.from_pretrained(folder, strict=True)
    model = own.build(width=12).to(getattr(torch, case["dtype"]))
    found = hub.load_torch_model(model, folder, strict=False)
    assert not found.unexpected_keys and set(found.missing_keys) == set(case["tied"]), found
    return model


LOADERS: dict[str, Callable[[Case, Path], Any]] = {
    loader.__name__: loader for loader in (transformers, timm, diffusers, torchvision, module)
}


@torch.no_grad()
def logits(model: Any, case: Case) -> str:
    """Return the sha256 of what the model makes of the probe, which is in the model's own type.

    Of float16 in float32: half-precision products of a CPU depend on how the memory of the weights is aligned.
    """
    if next(model.parameters()).dtype == torch.float16:
        model = model.float()
    dtype = next(model.parameters()).dtype
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in case["inputs"].items()}
    arguments = [inputs.pop(place) for place in sorted(inputs) if place.isdecimal()]
    found = model.eval()(*arguments, **inputs, **case["options"])
    first = found if isinstance(found, torch.Tensor) else found[0]
    return sha256(first.float().contiguous().numpy().tobytes()).hexdigest()


def read(case: Case) -> dict[str, Any]:
    folder = Path(case["folder"])
    model = LOADERS[case["source"]](case, folder)
    state = model.state_dict()
    stored: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        stored.update(load_file(file))
    tied = case["tied"].items()
    return {
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "changed": [name for name, value in stored.items() if not state[name].to(value.dtype).equal(value)],
        "untied": [name for name, other in tied if state[name].data_ptr() != state[other].data_ptr()],
        "unread": sorted(set(state) - set(stored) - set(case["tied"])),
        "logits": logits(model, {**case, "inputs": load_file(case["probe"])}),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps([read(case) for case in json.load(sys.stdin)]))
    assert "paramgen.architectures" not in sys.modules  # nothing of ours is needed
