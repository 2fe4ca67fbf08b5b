"""transformers: `transformers:llama` (a model type) or `transformers:LlamaForCausalLM` (a class)."""

import copy
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor, nn

from paramgen._optional.light import is_own_process
from paramgen._optional.torchvision import ensure_torchvision
from paramgen.architectures import (
    Architecture,
    ArchitectureRequest,
    ArchitectureSource,
    FolderLayout,
    Inputs,
    LoadedModel,
    built,
    is_config_folder,
    read_config,
    refuse_unknown,
    sources,
)
from paramgen.architectures.config_limits import refuse_config
from paramgen.architectures.experts import run_all_experts
from paramgen.architectures.followed import changes, note
from paramgen.architectures.inputs import image
from paramgen.architectures.recorder import record
from paramgen.architectures.transformers_internals import import_light
from paramgen.architectures.untrusted import admitted, nothing_fetched
from paramgen.architectures.untrusted_sizes import bounded_construction
from paramgen.errors import ArchitectureError, OptionError, ParamgenError, UnknownNameError, one_line
from paramgen.registry.overrides import join_spec
from paramgen.slots.manifest import read_manifest
from paramgen.slots.meta_results import MetaResults
from paramgen.storage.reading import elements_in

GENERATION: Final = "generation_config.json"
_ADAPTER: Final = "adapter_config.json"

# The class that a bare model type stands for: the first of these tasks that the type has.
_TASKS: Final = (
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "IMAGE_CLASSIFICATION",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
    "MASKED_LM",
    "CAUSAL_LM",
    "CTC",
    "AUDIO_CLASSIFICATION",
    "OBJECT_DETECTION",
    "SEMANTIC_SEGMENTATION",
    "DEPTH_ESTIMATION",
    "IMAGE_TEXT_TO_TEXT",
)


@final
@sources.register("transformers")
class TransformersSource(ArchitectureSource):
    """Every model class of transformers, built from its default config, a config.json or overrides."""

    def build(self, request: ArchitectureRequest) -> Architecture:
        """Build the class on the meta device, where its default initialization is recorded.

        Raises:
            ArchitectureError: The constructor fails.
        """
        ensure_torchvision()
        import_light()
        config, model_class, overrides, notes = _requested(request)
        what = f"transformers:{model_class.__name__}"
        own = copy.deepcopy(config)  # tracing changes the other one

        def construct() -> nn.Module:
            module = model_class(config)
            module.initialize_weights()  # which transformers skips on the meta device
            module.tie_weights()
            return module

        try:
            with nothing_fetched(), bounded_construction(what):
                module, programs = record(construct)
        except Exception as error:  # configs are checked by the library, in many ways
            raise built(what, error) from error
        config.architectures = [model_class.__name__]
        run_all_experts(module)
        try:
            spec = join_spec(f"transformers:{request.name}", overrides)
            found = _architecture(spec, module, programs, example=request.example, notes=notes)
            return replace(found, construct=lambda: model_class(copy.deepcopy(own)))
        except ParamgenError:
            raise
        except Exception as error:  # some values are looked at when they are written, or by the first input
            raise built(what, error) from error

    def names(self) -> Sequence[str]:
        """Every model type that has a class."""
        ensure_torchvision()
        from transformers.models.auto import modeling_auto

        return sorted(set(modeling_auto.MODEL_MAPPING_NAMES) | set(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))

    def example_of(self, module: nn.Module) -> Inputs | None:
        """Return the smallest inputs of a model of transformers."""
        if "transformers" not in sys.modules:  # then no module is of it, and importing it takes seconds
            return None
        from transformers import PreTrainedModel

        return example_inputs(module) if isinstance(module, PreTrainedModel) else None

    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Call the class's own `from_pretrained`.

        Raises:
            ArchitectureError: The folder holds an adapter of another model.
        """
        ensure_torchvision()
        import_light()
        config, model_class = _config_and_class(str(folder))
        if (folder / _ADAPTER).exists():  # which names another model, and that would be loaded
            raise ArchitectureError(f"{folder} has an {_ADAPTER}, which adds to another model. Merge the two first.")
        known = MetaResults() if is_own_process() else nullcontext()  # type: ignore[no-untyped-call]
        with known, nothing_fetched(), bounded_construction(str(folder), elements=elements_in(folder)):
            module, info = model_class.from_pretrained(
                folder,
                config=config,  # what was let through of it
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                device_map=str(device),
                ignore_mismatched_sizes=True,  # they are in the info, and refused by name
            )
        mismatched = tuple(str(entry[0]) for entry in info["mismatched_keys"])
        return LoadedModel(
            module=module,
            missing=tuple(sorted(info["missing_keys"])),
            unexpected=tuple(sorted(info["unexpected_keys"])),
            mismatched=mismatched,
        )


def _architecture(
    spec: str, module: Any, programs: Any, *, example: Inputs | None, notes: tuple[str, ...]
) -> Architecture:
    """Return what is known of a network that was built."""
    return Architecture(
        spec=spec,
        notes=notes,
        module=module,
        manifest=read_manifest(module, programs, ties=getattr(module, "all_tied_weights_keys", None) or {}),
        example=example or example_inputs(module),
        layout=FolderLayout(
            source="transformers",
            config=json.loads(module.config.to_json_string(use_diff=False)),
            shardable=True,
            tied="once",
            dtype_key="dtype",
            files=_generation(module),
        ),
    )


def _generation(module: Any) -> dict[str, str]:
    """Return the file that says how a model generates, if it can, as `save_pretrained` writes it."""
    return {GENERATION: module.generation_config.to_json_string()} if module.can_generate() else {}


def example_inputs(module: Any) -> Inputs:
    """Return the smallest inputs that the forward pass of a transformers model takes, on the meta device."""
    config = module.config
    parameters = inspect.signature(module.forward).parameters
    given: dict[str, Any] = {}
    names = {module.main_input_name} | {
        name for name in ("input_ids", "pixel_values") if name in parameters and _required_pair(config)
    }
    for name in sorted(names):
        given[name] = _input(name, config)
    if type(module).__name__.endswith("ForSequenceClassification") and getattr(config, "pad_token_id", 0) is None:
        given = {name: tensor[:1] for name, tensor in given.items()}  # of several texts it would seek the ends
    if type(module).__name__.endswith("ForMultipleChoice") and "input_ids" in given:
        given["input_ids"] = torch.stack([given["input_ids"]] * 2, 1)  # two choices each
    frames = getattr(getattr(config, "vision_config", config), "num_frames", None)
    if frames and "pixel_values" in given:  # clips
        given["pixel_values"] = given["pixel_values"].unsqueeze(1).repeat_interleave(frames, 1)
    if type(module).__name__.endswith("ForKeypointMatching"):
        given["pixel_values"] = torch.stack([given["pixel_values"]] * 2, 1)  # two views of each
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in parameters:
        given["decoder_input_ids"] = _input("input_ids", config)
    if "use_cache" in parameters or hasattr(config, "use_cache"):
        given["use_cache"] = False
    accepts_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return (), {key: value for key, value in given.items() if key in parameters or accepts_any}


def _required_pair(config: Any) -> bool:
    return hasattr(config, "text_config") and hasattr(config, "vision_config")


def _input(name: str, config: Any) -> Tensor:
    text = getattr(config, "text_config", config)
    vision = getattr(config, "vision_config", config)
    if name == "pixel_values":
        size = getattr(vision, "image_size", None) or 224
        return image(getattr(vision, "num_channels", 3), size, type(config).__name__)
    if name == "input_features":
        bins = getattr(config, "num_mel_bins", None) or 80
        return torch.zeros(2, bins, 2 * getattr(config, "max_source_positions", 500), device="meta")
    if name == "input_values" and hasattr(config, "num_mel_bins"):  # spectrograms
        return torch.zeros(2, getattr(config, "max_length", 1_024), config.num_mel_bins, device="meta")
    if name == "input_values":
        return torch.zeros(2, 16_000, device="meta")
    length = min(16, getattr(text, "max_position_embeddings", None) or 16)
    return torch.zeros(2, length, dtype=torch.long, device="meta")


def _config_and_class(name: str, overrides: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """Return a config and the class it belongs to, from a model type, a class name or the path of a config."""
    import transformers
    from transformers.models.auto import CONFIG_MAPPING, modeling_auto

    path = Path(name)
    given: dict[str, Any] = {}
    if path.suffix == ".json" or is_config_folder(name):
        given = read_config(path)
        model_type = str(given.pop("model_type", None))
        if model_type not in CONFIG_MAPPING:
            raise UnknownNameError.of("model_type", model_type, CONFIG_MAPPING)
        names = given.get("architectures") or [_default_class(modeling_auto, model_type)]
        if not isinstance(names, list):
            raise ArchitectureError(f"{path} has the architectures {one_line(names)}; expected a list of class names.")
        model_class, config_class = _model_class(str(names[0])), CONFIG_MAPPING[model_type]
        given = admitted(given, _keys(config_class), origin=str(path))
    elif name in CONFIG_MAPPING:
        model_class, config_class = _model_class(_default_class(modeling_auto, name)), CONFIG_MAPPING[name]
    elif hasattr(transformers, name):
        model_class = _model_class(name)
        config_class = model_class.config_class
    else:
        raise UnknownNameError.of(
            "transformers architecture", name, CONFIG_MAPPING, "Type: paramgen list architectures transformers"
        )
    return _config(config_class, given, overrides or {}, f"transformers:{name}"), model_class


def _requested(request: ArchitectureRequest) -> tuple[Any, Any, Mapping[str, Any], tuple[str, ...]]:
    """Return the config and class of a request, its overrides with what follows a tokenizer, and a note about that."""
    config, model_class = _config_and_class(request.name, request.overrides)
    if request.tokens is None:
        return config, model_class, request.overrides, ()
    before = config.to_dict()
    own_file = request.name.endswith(".json") or is_config_folder(request.name)
    found = changes(before, request.tokens, typed=request.typed, own_file=own_file)
    if not found:
        return config, model_class, request.overrides, ()
    try:
        config, _ = _config_and_class(request.name, {**request.overrides, **found})
    except ArchitectureError:  # some configs must have a number for each special token
        found = {key: value for key, value in found.items() if value is not None}
        config, _ = _config_and_class(request.name, {**request.overrides, **found})
    return config, model_class, {**request.overrides, **found}, (note(before, found, request.tokens),) if found else ()


def _keys(config_class: Any) -> frozenset[str]:
    """Return the names that a class of configs has for its own values."""
    attributes = getattr(config_class, "attribute_map", {})
    return frozenset((*inspect.signature(config_class.__init__).parameters, *config_class.sub_configs, *attributes))


def completed_config(folder: Path) -> dict[str, Any]:
    """Return the config.json of a folder with what transformers adds to it; no model is built.

    Raises:
        ArchitectureError: The folder has no config.json.
    """
    if not is_config_folder(str(folder)):
        raise ArchitectureError(f"{str(folder)!r} has no config.json. Give a folder that save_pretrained wrote.")
    config, model_class = _config_and_class(str(folder))
    config.architectures = [model_class.__name__]
    return json.loads(config.to_json_string(use_diff=False))


def _config(config_class: Any, given: dict[str, Any], overrides: Mapping[str, Any], what: str) -> Any:
    """Return a config of `given` values and overrides; dots reach into nested configs.

    All values pass the limits: what was given before the library sees it, and what it makes of them afterwards.
    """
    refuse_config(given, what)
    refuse_config(overrides, what)
    config = _unlimited(config_class, given, overrides, what)
    try:
        completed = config.to_dict()
    except Exception as error:  # a config may take what it cannot write
        raise built(what, error) from error
    refuse_config(completed, what)
    return config


def _unlimited(config_class: Any, given: dict[str, Any], overrides: Mapping[str, Any], what: str) -> Any:
    try:
        with nothing_fetched():
            default = config_class(**given)
        if not overrides:
            return default
        for key, value in overrides.items():
            _refuse_unknown_option(default, key, value, what)
        values = copy.deepcopy(given)
        for key, value in overrides.items():
            *parents, leaf = ("num_labels" if key == "num_classes" else key).split(".")
            target = values
            for parent in parents:
                target = target.setdefault(parent, {})
            target[leaf] = value
            if leaf == "num_labels":
                target.pop("id2label", None)
                target.pop("label2id", None)
        with nothing_fetched():
            return config_class(**values)
    except ParamgenError:
        raise
    except Exception as error:  # configs are checked by the library, in many ways
        raise built(what, error) from error


def _refuse_unknown_option(config: Any, key: str, value: Any, what: str) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        nested = getattr(config, parent, None)
        if not hasattr(nested, "to_dict"):
            raise OptionError(f"{what} has no nested config {parent!r}, as {key!r} needs. Type: --set key=value")
        config = nested
    known = (*config.to_dict(), *getattr(config, "attribute_map", {}), "num_labels", "num_classes")
    refuse_unknown({leaf: value}, known, what)


def _default_class(modeling_auto: Any, model_type: str) -> str:
    mappings: list[Mapping[str, Any]] = [
        getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES", {}) for task in _TASKS
    ]
    for mapping in (*mappings, modeling_auto.MODEL_MAPPING_NAMES):
        if model_type in mapping:
            found = mapping[model_type]
            return str(found if isinstance(found, str) else found[0])
    raise ArchitectureError(f"transformers has no model class for {model_type!r}. Give a class: transformers:ClassName")


def _model_class(name: str) -> Any:
    import transformers
    from transformers import PreTrainedModel

    found = getattr(transformers, name, None)
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise ArchitectureError(f"transformers.{name} is no model class. Give one such as transformers:BertForMaskedLM")
    return found
