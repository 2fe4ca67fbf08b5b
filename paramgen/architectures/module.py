"""A user's own network: `path/to/file.py:factory` on the command line, an `nn.Module` in Python."""

import copy
import dataclasses
import hashlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from paramgen.architectures import (
    Architecture,
    ArchitectureSource,
    Inputs,
    Layout,
    Loaded,
    Request,
    built,
    refuse_unknown,
    sources,
)
from paramgen.architectures.inputs import as_inputs, guess_inputs
from paramgen.architectures.ownership import RECORD, is_ours, own_record, signed
from paramgen.architectures.recorder import built_on, meta_twin, record
from paramgen.architectures.state import load_state
from paramgen.draws import kept
from paramgen.errors import ArchitectureError, CheckError, one_line
from paramgen.manifest import read_manifest

_RESETS = ("reset_parameters", "_reset_parameters", "init_weights", "initialize_weights")


@final
@sources.register("module")
class ModuleSource(ArchitectureSource):
    """Factories in Python files. The file runs because its owner typed its path; nothing else ever runs one."""

    def build(self, request: Request) -> Architecture:
        """Import the file and call the factory with the overrides, on the meta device."""
        path, _, name = request.name.rpartition(":")
        file = Path(path)
        namespace = import_file(file)
        factory = _factory(namespace, file, name)
        _refuse_unknown(factory, request)
        what = f"{file.name}:{factory.__name__}"
        try:
            module, draws = record(lambda: factory(**request.overrides))
        except (Exception, SystemExit) as error:  # a user's factory may raise anything
            raise built(what, error) from error
        made_from = {
            "library": "paramgen",
            "architecture": f"{file.resolve()}:{factory.__name__}",
            "arguments": dict(request.overrides),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        example = request.example or _example(namespace, module)
        return Architecture(
            spec=f"{file}:{factory.__name__}",
            module=module,
            manifest=read_manifest(module, draws),
            example=example or guess_inputs(module),
            guessed=example is None,
            layout=_layout(module, signed(made_from)),
        )

    def names(self) -> Sequence[str]:
        """Own modules cannot be listed."""
        return ()

    def load(self, folder: Path, device: torch.device) -> Loaded:
        """Rebuild the module from the file that config.json names, if this user wrote it and the file is the same."""
        config = own_record(folder)
        if not is_ours(config):
            raise CheckError(
                f"{folder} was not made from a file.py:factory of yours on this machine, so no code is run for it. "
                "Build the module yourself and type: paramgen.load(folder, module)"
            )
        path, _, name = str(config.get("architecture", "")).rpartition(":")
        file = Path(path)
        if not file.is_file():
            raise CheckError(f"{folder} was made from {path}, which is not there. Put the file back or load by hand.")
        if hashlib.sha256(file.read_bytes()).hexdigest() != config["sha256"]:
            raise CheckError(f"{path} has changed since {folder} was written; predict again or load by hand.")
        factory = _factory(import_file(file), file, name)
        module = built_on(device, lambda: factory(**config.get("arguments", {})))
        if is_hub_mixin(module) and device.type != "meta":
            own: Any = type(module)
            with redirect_stdout(StringIO()):  # it prints where from it loads
                return Loaded(module=own.from_pretrained(folder, local_files_only=True, strict=True))
        return load_state(module, folder)


def from_module(module: nn.Module, example: Inputs | None = None) -> Architecture:
    """Describe a live module without touching it: everything happens on a copy on the meta device.

    What the library would draw is recorded from the modules' own reset functions. A slot that none of them touches
    keeps the value it has.
    """
    twin, draws = record(lambda: _reset(meta_copy(module)))
    live = module.state_dict(keep_vars=True)
    drawn = {id(live[name]) for name in draws}  # a tied tensor has its draw under one of its names
    for name, tensor in live.items():
        if id(tensor) not in drawn and not tensor.is_meta:
            draws[name] = kept(tensor)
    draws.update(
        {name: kept(tensor) for name, tensor in module.named_buffers() if name not in live and not tensor.is_meta}
    )
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    known = library_example(twin)
    return Architecture(
        spec=f"module:{name}",
        module=twin,
        manifest=read_manifest(twin, draws),
        example=example or _of_its_dtype(known or guess_inputs(twin), twin),
        guessed=example is None and known is None,
        layout=_layout(twin, {"library": "paramgen", "architecture": name}),
    )


def is_hub_mixin(module: nn.Module) -> bool:
    """Whether the module's class has `from_pretrained` from huggingface_hub, and reads the folder by itself."""
    if "huggingface_hub" not in sys.modules:
        return False
    from huggingface_hub import PyTorchModelHubMixin

    return isinstance(module, PyTorchModelHubMixin)


def _layout(module: nn.Module, made_from: Mapping[str, Any]) -> Layout:
    """Return the folder as the module's own class reads it, where it does; our record then stands beside its config."""
    if not is_hub_mixin(module):
        return Layout(source="module", config=made_from, tied="once", shardable=True)
    given: Any = module._hub_mixin_config or {}  # what its `save_pretrained` writes
    config = given if isinstance(given, dict) else dataclasses.asdict(given)
    return Layout(source="module", config=config, tied="once", files={RECORD: json.dumps(made_from, indent=2) + "\n"})


def _of_its_dtype(example: Inputs | None, module: nn.Module) -> Inputs | None:
    """Return a guessed example with floating-point tensors of the module's own type, which may be a half one."""
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)

    def cast(leaf: Any) -> Any:
        return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return None if example is None else tree_map(cast, example)


def meta_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy of `module` whose parameters and buffers are on the meta device."""
    try:
        memo: dict[int, Any] = {id(t): meta_twin(t) for t in (*module.parameters(), *module.buffers())}
        twin = copy.deepcopy(module, memo)
    except Exception as error:  # any attribute of a user's module may refuse
        raise ArchitectureError(
            f"{type(module).__name__} cannot be copied to the meta device: {one_line(error)} Give a file.py:factory "
            "instead."
        ) from error
    for child in twin.modules():
        child._forward_hooks.clear()  # they keep what passes by; weights are made in pre-hooks, which stay
    return twin


def library_example(module: nn.Module) -> Inputs | None:
    """Ask the library that the module comes from for an example input."""
    if "transformers" in sys.modules:
        from transformers import PreTrainedModel

        if isinstance(module, PreTrainedModel):
            from paramgen.architectures.transformers import example_inputs

            return example_inputs(module)
    if "diffusers" in sys.modules:
        from diffusers import ModelMixin

        if isinstance(module, ModelMixin):
            from paramgen.architectures.diffusers_inputs import example_inputs as diffusers_inputs

            return diffusers_inputs(module)
    size = (getattr(module, "pretrained_cfg", None) or {}).get("input_size")
    return ((torch.zeros((2, *size), device="meta"),), {}) if size else None


def import_file(file: Path) -> ModuleType:
    """Run a Python file, by its path alone."""
    if not file.is_file():
        raise ArchitectureError(
            f"There is no file {str(file)!r}. Type: paramgen predict --arch path/to/file.py:factory"
        )
    digest = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:12]
    specification = importlib.util.spec_from_file_location(f"paramgen_own_{file.stem}_{digest}", file)
    if specification is None or specification.loader is None:
        raise ArchitectureError(f"{file} is not a Python file. Type: paramgen predict --arch path/to/file.py:factory")
    namespace = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = namespace  # dataclasses look their module up
    try:
        specification.loader.exec_module(namespace)
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        del sys.modules[specification.name]
        raise ArchitectureError(
            f"{file} does not import: {type(error).__name__}: {one_line(error)}. Try: python {file}"
        ) from error
    return namespace


def _factory(namespace: ModuleType, file: Path, name: str) -> Callable[..., nn.Module]:
    factory = getattr(namespace, name, None) if name else None
    if not callable(factory):
        own = [key for key, value in vars(namespace).items() if callable(value) and _defined_in(value, namespace)]
        raise ArchitectureError(
            f"{file} has no factory {name!r}. It defines: {', '.join(own) or 'nothing callable'}. "
            f"Type: --arch {file}:{own[0] if own else 'factory'}"
        )
    return factory


def _defined_in(value: Any, namespace: ModuleType) -> bool:
    return getattr(value, "__module__", None) == namespace.__name__


def _refuse_unknown(factory: Callable[..., Any], request: Request) -> None:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        refuse_unknown(request.overrides, tuple(parameters), factory.__name__)


def _example(namespace: ModuleType, module: nn.Module) -> Inputs | None:
    for owner in (module, namespace):
        given = getattr(owner, "example_input", None)
        if given is not None:
            return as_inputs(given() if callable(given) and not isinstance(given, Tensor) else given)
    return None


def _reset(module: nn.Module) -> nn.Module:
    """Call every reset function of the module, children first, as constructors run."""
    weights = getattr(module, "initialize_weights", None)
    if weights is not None and any(base.__module__.startswith("transformers.") for base in type(module).__mro__):
        for part in module.modules():  # which transformers marks when it has drawn them, and then passes over
            part.__dict__.pop("_is_hf_initialized", None)
        weights()
        return module
    for child in module.children():
        _reset(child)
    for name in _RESETS:
        reset = getattr(module, name, None)
        if callable(reset):
            try:
                reset()
            except Exception:  # noqa: S112 - a reset that needs arguments or real values leaves its slots as they are
                continue
            break
    return module
