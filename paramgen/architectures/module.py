"""A user's own network: `file.py:factory` or `package.module:factory` when typed, an `nn.Module` in Python."""

import dataclasses
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
from torch.nn.parameter import is_lazy

from paramgen.architectures import (
    Architecture,
    ArchitectureRequest,
    ArchitectureSource,
    FolderLayout,
    Inputs,
    LoadedModel,
    built,
    library_example,
    library_pixel_std,
    refuse_unknown,
    sources,
)
from paramgen.architectures.inputs import as_inputs, guess_inputs, made
from paramgen.architectures.lazy import with_shapes
from paramgen.architectures.memory import meta_copy
from paramgen.architectures.ownership import MODULE_RECORD, is_ours, own_record, root_of, signed
from paramgen.architectures.recorder import built_on, record
from paramgen.architectures.resets import reset
from paramgen.architectures.state import load_state
from paramgen.architectures.user_code import UserCode, digest_of, find_code, recorded_code
from paramgen.errors import ArchitectureError, CheckError, OptionError
from paramgen.hub.hub_internals import config_of_mixin
from paramgen.slots.init_program import InitProgram, kept
from paramgen.slots.manifest import extra_state_of, read_manifest, state_of
from paramgen.slots.torch_internals import tree_map


@final
@sources.register("module")
class ModuleSource(ArchitectureSource):
    """Factories in Python code. It runs because its owner typed its name; nothing else ever runs any."""

    def build(self, request: ArchitectureRequest) -> Architecture:
        """Import `file.py:factory` or `package.module:factory` and call it with the overrides, on the meta device."""
        path, _, name = request.name.rpartition(":")
        return _described(find_code(path), name, request)

    def names(self) -> Sequence[str]:
        """Own modules cannot be listed."""
        return ()

    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Rebuild the module from the code that config.json names, if this user wrote it and it is the same.

        Raises:
            ArchitectureError: The factory fails.
        """
        config = own_record(folder)
        code, name = _recorded(folder, config)
        namespace = code.load(again=False)  # it was compared with the record
        factory = _factory(namespace, code, name)
        try:
            with code.running():
                module = built_on(device, lambda: factory(**config.get("arguments", {})))
        except (Exception, SystemExit) as error:  # a user's factory may raise anything
            raise _not_built(code, name, error) from error
        if is_hub_mixin(module) and device.type != "meta":
            own: Any = type(module)
            with redirect_stdout(StringIO()):  # it prints where from it loads
                return LoadedModel(module=own.from_pretrained(folder, local_files_only=True, strict=True))
        return load_state(module, folder)


def rebuilt(folder: Path, example: Inputs | None) -> Architecture:
    """Describe the network of a folder from the user's own code; refused as `load` refuses."""
    config = own_record(folder)
    code, name = _recorded(folder, config)
    request = ArchitectureRequest(name=f"{code.shown}:{name}", overrides=config.get("arguments") or {}, example=example)
    return _described(code, name, request)


def _described(code: UserCode, name: str, request: ArchitectureRequest) -> Architecture:
    namespace = code.load()
    factory = _factory(namespace, code, name)
    _refuse_unknown(factory, name, request)

    def construct() -> Any:  # what it is, is looked at later
        with code.running():
            module = factory(**request.overrides)
        if not isinstance(module, nn.Module):
            return module
        return with_shapes(module, request.example or _example(code, namespace, module))

    try:
        module, programs = record(construct)
    except OptionError:  # it says itself what is wrong, as of the example input
        raise
    except (Exception, SystemExit) as error:  # a user's factory may raise anything
        raise _not_built(code, name, error) from error
    first, *others = code.digests().items()
    made_from = {
        "library": "paramgen",
        "architecture": f"{code.shown}:{name}",
        "arguments": dict(request.overrides),
        "sha256": first[1],
        **({"imports": dict(others)} if others else {}),
    }
    example = request.example or _example(code, namespace, module)
    return Architecture(
        spec=f"{code.shown}:{name}",
        module=module,
        manifest=read_manifest(module, programs),
        example=example or guess_inputs(module),
        guessed=example is None,
        layout=_layout(module, signed(made_from, None if code.installed else code.root)),
        construct=construct,
        pixel_std=library_pixel_std(module),
    )


def _recorded(folder: Path, config: Mapping[str, Any]) -> tuple[UserCode, str]:
    """Return the code and the factory that a folder's record names, if this user wrote it and no file has changed."""
    if not is_ours(config):
        raise CheckError(
            f"{folder} was not made from a file.py:factory of yours on this machine, so no code is run for it. "
            "Build the module yourself and type: paramgen.load(folder, module)"
        )
    path, _, name = str(config.get("architecture", "")).rpartition(":")
    root = root_of(config)
    code = recorded_code(path, root)
    if code is None:
        where = f"{path} in {root}" if root is not None else path
        raise CheckError(f"{folder} was made from {where}, which is not there. Put the file back or load by hand.")
    imports = {code.root / below: digest for below, digest in (config.get("imports") or {}).items()}
    for file, digest in {code.file: config["sha256"], **imports}.items():
        if not file.is_file() or digest_of(file) != digest:
            raise CheckError(f"{file} has changed since {folder} was written; predict again or load by hand.")
    return code, name


def _not_built(code: UserCode, name: str, error: BaseException) -> ArchitectureError:
    """Say in one line why a factory failed, and in which line of the user's own."""
    return built(f"{code.file.name if not code.installed else code.shown}:{name}", error, where=code.line_of(error))


def from_module(module: nn.Module, example: Inputs | None = None) -> Architecture:
    """Describe a live module without touching it: everything happens on a copy on the meta device.

    Its default initialization is what it holds. What holds nothing yet, on the meta device or in lazy layers, is filled
    as the modules' own reset functions would.
    """
    held = {name: kept(tensor) for name, tensor in _tensors(module).items() if not (is_lazy(tensor) or tensor.is_meta)}
    twin, programs = meta_copy(module), dict[str, InitProgram]()
    if held.keys() != _tensors(module).keys():
        twin, programs = record(lambda: reset(with_shapes(meta_copy(module), example)))
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    known = library_example(twin)
    return Architecture(
        spec=f"module:{name}",
        module=twin,
        manifest=read_manifest(twin, programs | held),
        example=example or _of_its_dtype(known or guess_inputs(twin), twin),
        guessed=example is None and known is None,
        layout=_layout(twin, {"library": "paramgen", "architecture": name}),
        extra=extra_state_of(module),
        pixel_std=library_pixel_std(twin),
    )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all tensors of a module: those of its state dict, and the buffers that no state dict has."""
    return {**dict(module.named_buffers()), **state_of(module)}


def is_hub_mixin(module: nn.Module) -> bool:
    """Whether the module's class has `from_pretrained` from huggingface_hub, and reads the folder by itself."""
    if "huggingface_hub" not in sys.modules:
        return False
    from huggingface_hub import PyTorchModelHubMixin

    return isinstance(module, PyTorchModelHubMixin)


def _layout(module: nn.Module, made_from: Mapping[str, Any]) -> FolderLayout:
    """Return the folder as the module's own class reads it, where it does; our record is then beside its config."""
    if not is_hub_mixin(module):
        return FolderLayout(source="module", config=made_from, tied="once", shardable=True)
    given: Any = config_of_mixin(module) or {}  # what its `save_pretrained` writes
    config = given if isinstance(given, dict) else dataclasses.asdict(given)
    return FolderLayout(
        source="module", config=config, tied="once", files={MODULE_RECORD: json.dumps(made_from, indent=2) + "\n"}
    )


def _of_its_dtype(example: Inputs | None, module: nn.Module) -> Inputs | None:
    """Return a guessed example with floating-point tensors of the module's own type, which may be a half one."""
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)

    def cast(leaf: Any) -> Any:
        return leaf.to(dtype) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    return None if example is None else tree_map(cast, example)


def _factory(namespace: ModuleType, code: UserCode, name: str) -> Callable[..., nn.Module]:
    factory = getattr(namespace, name, None) if name else None
    own = [key for key, value in vars(namespace).items() if _makes_modules(value) and _defined_in(value, namespace)]
    advice = f"Type: --arch {code.typed}:{own[0] if own else 'factory'}"
    if isinstance(factory, nn.Module):
        raise ArchitectureError(
            f"{code.typed}:{name} is a {type(factory).__name__} that exists already. Allowed: a class, or a function "
            f"that builds one. {advice}, or in Python: paramgen.write(module, FOLDER)"
        )
    if not callable(factory):
        raise ArchitectureError(
            f"{code.typed} has no factory {name!r}. It defines: {', '.join(own) or 'nothing callable'}. {advice}"
        )
    return factory


def _makes_modules(value: Any) -> bool:
    return callable(value) and not isinstance(value, nn.Module)


def _defined_in(value: Any, namespace: ModuleType) -> bool:
    return getattr(value, "__module__", None) == namespace.__name__


def _refuse_unknown(factory: Callable[..., Any], name: str, request: ArchitectureRequest) -> None:
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        refuse_unknown(request.overrides, tuple(parameters), name)


def _example(code: UserCode, namespace: ModuleType, module: nn.Module) -> Inputs | None:
    for owner in (module, namespace):
        given = getattr(owner, "example_input", None)
        if given is not None:
            return as_inputs(made(code, given) if callable(given) and not isinstance(given, Tensor) else given)
    return None
