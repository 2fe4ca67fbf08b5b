"""Load a pipeline's folder, which may be anybody's: everything in it is validated before it is used.

diffusers' own loader imports what model_index.json names. Here only the classes of this package, four schedulers and
the networks that `paramgen.architectures` builds are known; every tensor's name, shape and values are checked.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import Architecture, resolve
from paramgen.architectures.untrusted_sizes import refuse_sizes
from paramgen.diffusion.codec import WeightCodec
from paramgen.diffusion.denoiser import WeightDenoiser
from paramgen.diffusion.pipeline import SCHEDULERS, WeightDiffusionPipeline
from paramgen.diffusion.prompts import KnownPrompts
from paramgen.errors import ParamgenError, PipelineError, one_line
from paramgen.hub.download import commit_of, fetch_tree, reason
from paramgen.hypernets.storage import read_json, read_weights
from paramgen.registry.repository_names import is_repository
from paramgen.storage.digest import cached_sha256

PIPELINE_INDEX: Final = "model_index.json"
CONFIG: Final = "config.json"
PIPELINE_WEIGHTS: Final = "diffusion_pytorch_model.safetensors"
PARTS: Final[Mapping[str, type[Any]]] = {"codec": WeightCodec, "denoiser": WeightDenoiser, "prompts": KnownPrompts}
BASE_WEIGHTS: Final = {"diffusers": PIPELINE_WEIGHTS, "transformers": "model.safetensors"}
"""The libraries whose networks a pipeline may make weights for, and the name of their file of weights."""
PIPELINE_ADVICE: Final = "Type: --init diffusion for the one that comes with paramgen, or diffusion:FOLDER_OR_REPO"
_WANTED: Final = [PIPELINE_INDEX, "README.md", "*/*.json", *(f"*/{file}" for file in BASE_WEIGHTS.values())]


class Opened(NamedTuple):
    """A pipeline, the architecture of its networks, and where it is from."""

    pipeline: WeightDiffusionPipeline
    architecture: Architecture
    folder: Path
    repo: str | None
    revision: str | None
    sha256: str  # of all weights

    @property
    def files(self) -> tuple[str, ...]:
        """The names of what the folder holds, beside its card."""
        return PIPELINE_INDEX, "scheduler/scheduler_config.json", *_weights_of(self.architecture), *_configs()


def open_pipeline(name: str) -> Opened:
    """Return the pipeline of a folder or of REPO[@REVISION].

    Raises:
        PipelineError: There is none, or it is not what a pipeline is.

    """
    folder, repo, revision = _located(name)
    try:
        index = _index(folder)
        architecture = resolve(str(folder / "base"))
        base = _base(folder, architecture)
        parts = {part: _part(folder / part, kind) for part, kind in PARTS.items()}
        parts |= {key: str(index[key]) for key in ("text_model", "text_revision", "output")}
        pipeline = WeightDiffusionPipeline(**parts, base=base, scheduler=_scheduler(folder, index))
        pipeline.set_progress_bar_config(disable=True)
        _check_parts(pipeline, architecture)
    except PipelineError:
        raise
    except Exception as error:  # anybody's values meet constructors of torch and diffusers, which raise many kinds
        why = one_line(error) if isinstance(error, ParamgenError) else f"{type(error).__name__}: {one_line(error)}."
        raise PipelineError(f"{name!r} is no pipeline that can be used: {why} {PIPELINE_ADVICE}") from error
    digest = hashlib.sha256("".join(cached_sha256(folder / file) for file in _weights_of(architecture)).encode())
    return Opened(pipeline, architecture, folder, repo, revision, digest.hexdigest())


def _weights_of(architecture: Architecture) -> tuple[str, ...]:
    return *(f"{part}/{PIPELINE_WEIGHTS}" for part in PARTS), f"base/{BASE_WEIGHTS[architecture.layout.source]}"


def _configs() -> tuple[str, ...]:
    return tuple(f"{part}/{CONFIG}" for part in (*PARTS, "base"))


def _located(name: str) -> tuple[Path, str | None, str | None]:
    """Return the folder of a pipeline, and repository and commit if the Hub has it."""
    if Path(name).is_dir():
        return Path(name), None, None
    repo, at, revision = name.partition("@")
    if not is_repository(repo) or (at and not revision):
        raise PipelineError(
            f"No pipeline {one_line(name)!r}: there is no such folder, and a repository of the Hub is org/name. "
            f"{PIPELINE_ADVICE}"
        )
    try:
        folder = fetch_tree(repo, _WANTED, revision=revision or None)
    except Exception as error:  # a connection that breaks raises what its own library has for it
        raise PipelineError(
            f"No pipeline {name!r}: there is no such folder, and {reason(error)}. {PIPELINE_ADVICE}"
        ) from error
    return folder, repo, commit_of(folder) or revision or None


def _index(folder: Path) -> Mapping[str, Any]:
    """Return model_index.json, once it names what a pipeline is made of and nothing else."""
    if not (folder / PIPELINE_INDEX).is_file():
        raise PipelineError(f"{str(folder)!r} has no {PIPELINE_INDEX}; a pipeline has one. {PIPELINE_ADVICE}")
    index = read_json(folder / PIPELINE_INDEX)
    if not isinstance(index, dict) or index.get("_class_name") != WeightDiffusionPipeline.__name__:
        raise PipelineError(
            f"{folder / PIPELINE_INDEX} is not the index of a {WeightDiffusionPipeline.__name__}. {PIPELINE_ADVICE}"
        )
    known = {part: [kind.__module__, kind.__name__] for part, kind in PARTS.items()}
    wrong = [part for part, kind in known.items() if index.get(part) != kind]
    named = {key for key, value in index.items() if isinstance(value, list)}
    unknown = named - known.keys() - {"base", "scheduler"}
    scheduler = index.get("scheduler")
    if scheduler not in [["diffusers", name] for name in SCHEDULERS]:
        wrong.append("scheduler")
    if wrong or unknown:
        part = min(wrong or unknown)
        raise PipelineError(
            f"{folder / PIPELINE_INDEX} has {one_line(repr(index.get(part)))} as {one_line(part)!r}. Allowed are the "
            f"classes of paramgen.diffusion and, as scheduler, {', '.join(SCHEDULERS)}."
        )
    return index


def _part(folder: Path, kind: type[Any]) -> Any:
    """Return a part with its weights in float32."""
    config = _plain_config(folder / CONFIG)
    with torch.device("meta"):
        part: Any = kind(**config)
    tensors = read_weights(folder / PIPELINE_WEIGHTS, part.state_dict())
    # In memory of their own: where a tensor begins in a file decides the last digits of what is computed with it.
    part.load_state_dict({name: tensor.clone() for name, tensor in tensors.items()}, assign=True)
    return part.requires_grad_(False).eval()


def _plain_config(path: Path) -> dict[str, Any]:
    config = read_json(path)
    if not isinstance(config, dict):
        raise PipelineError(f"{path} holds no JSON object; a part of a pipeline has one.")
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _base(folder: Path, architecture: Architecture) -> Any:
    """Return the network with the weights of the base checkpoint."""
    module = architecture.module
    source = architecture.layout.source
    if module is None or source not in BASE_WEIGHTS:
        raise PipelineError(f"{folder / 'base'} is no network of {' or '.join(BASE_WEIGHTS)}; a pipeline has one.")
    weights = read_weights(folder / "base" / BASE_WEIGHTS[source], module.state_dict())
    module.load_state_dict(weights, assign=True)
    return module.requires_grad_(False).eval()


def _scheduler(folder: Path, index: Mapping[str, Any]) -> Any:
    ensure_torchvision()
    import diffusers

    kind = getattr(diffusers, index["scheduler"][1])
    config = _plain_config(folder / "scheduler" / "scheduler_config.json")
    times = config.get("num_train_timesteps", 1000)
    if type(times) is not int or not 1 <= times <= 10_000:
        raise PipelineError("The scheduler has more than 10,000 timesteps, or none. Export the pipeline again.")
    refuse_sizes(config, origin=str(folder / "scheduler" / "scheduler_config.json"))
    return kind.from_config(config)


def _check_parts(pipeline: WeightDiffusionPipeline, architecture: Architecture) -> None:
    """Refuse parts that do not belong together."""
    layout, denoiser = pipeline.codec.layout, pipeline.denoiser.config
    if (len(denoiser["layers"]), denoiser["width"]) != (layout.count, layout.width):
        raise PipelineError("The denoiser's blocks are not those of the codec. Export the pipeline again.")
    if denoiser["text_width"] != pipeline.prompts.config["width"]:
        raise PipelineError("The denoiser's texts are not as wide as those of the prompts. Export the pipeline again.")
    update = {
        name: torch.zeros(shape) for name, shape in {**pipeline.codec.tensors.slots, **pipeline.codec.shared}.items()
    }
    found = {name: tuple(tensor.shape) for name, tensor in pipeline.restore(update).items()}
    wanted = {slot.name: slot.shape for slot in architecture.manifest.values()}
    if found != wanted:
        raise PipelineError("The codec's tensors are not those of the network in base. Export the pipeline again.")
