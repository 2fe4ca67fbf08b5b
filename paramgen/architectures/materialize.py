"""A network with values: the one on the meta device, copied, with given tensors in its slots."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.hooks import RemovableHandle

from paramgen.architectures import Architecture
from paramgen.errors import ArchitectureError, OptionError, one_line
from paramgen.slots.determinism import seeded_randomness
from paramgen.slots.init_program import one_thread, slot_generator
from paramgen.slots.manifest import state_of


@torch.no_grad()
def materialize(architecture: Architecture, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of the architecture's module on the CPU that holds `tensors` themselves, in evaluation mode.

    `tensors` has every slot that is filled; buffers that no state dict has get what the library makes of them.

    Raises:
        OptionError: Only the graph is known.
        ArchitectureError: A buffer's values are not known, or the module cannot be copied.
    """
    module = architecture.module
    if module is None:
        raise OptionError("A graph's JSON is not enough to run a network. Give --arch a name or a file.py:factory")
    manifest = architecture.manifest
    state = state_of(module)
    memo: dict[int, Any] = {}
    for name, tensor in state.items():
        value = tensors[manifest[name].tied_to or name]
        memo[id(tensor)] = nn.Parameter(value, requires_grad=False) if isinstance(tensor, nn.Parameter) else value
    for name, tensor in module.named_buffers():
        if id(tensor) in memo:
            continue
        if name not in manifest.unsaved:
            raise ArchitectureError(
                f"The values of buffer {name!r} of {architecture.spec} are not known, so it cannot be run. Try another "
                "initializer: paramgen list initializers"
            )
        memo[id(tensor)] = manifest.unsaved[name](slot_generator(0, name))
    try:
        return copy.deepcopy(module, memo).eval()
    except Exception as error:  # any attribute of a user's module may refuse
        raise ArchitectureError(f"{architecture.spec} cannot be copied: {one_line(error)}") from error


def run_once(
    module: nn.Module, architecture: Architecture, args: Any, kwargs: Mapping[str, Any], *, instead: str | None
) -> Any:
    """Return what a network with values makes of its inputs: one thread, and random numbers that are always the same.

    Raises:
        ArchitectureError: It does not run; `instead` is the initializer that runs nothing, if there is one.
    """
    with seeded_randomness(), one_thread(), _Whereabouts(module) as whereabouts:
        try:
            return module(*args, **kwargs)
        except Exception as error:  # a user's forward may raise anything
            advice = f" Or type: --init {instead}" if instead else ""
            raise ArchitectureError(
                f"{architecture.spec} does not run on the CPU{whereabouts.said}: {type(error).__name__}: "
                f"{one_line(error)}. Give another example: --example-input 2x3x32x32{advice}"
            ) from error


@contextmanager
def plain_attention() -> Iterator[None]:
    """Have attention computed from matrix products that can be seen, counted and differentiated twice: not fused."""
    usual = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(usual)


@final
class _Whereabouts:
    """Knows which part of a network is being run, also when it fails there."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._entered: list[str] = []
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> "_Whereabouts":
        for name, child in self._module.named_modules():
            self._hooks.append(child.register_forward_pre_hook(self._enter(name, child)))
            self._hooks.append(child.register_forward_hook(self._leave))
        return self

    def __exit__(self, *raised: object) -> None:
        for hook in self._hooks:
            hook.remove()

    @property
    def said(self) -> str:
        """The innermost part that was entered and not left, in words."""
        inner = self._entered[-1] if self._entered else ""
        return f", in {inner}" if inner else ""

    def _enter(self, name: str, child: nn.Module) -> Callable[[nn.Module, Any], None]:
        said = f"{one_line(name)} ({type(child).__name__})" if name else ""

        def enter(module: nn.Module, args: Any) -> None:
            self._entered.append(said)

        return enter

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._entered.pop()
