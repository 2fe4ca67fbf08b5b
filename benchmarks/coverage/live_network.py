"""One network of the benchmark of live modules, in a process of its own: built for real, filled in place, compared."""

import copy
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Any, Final

import torch
from torch import Tensor, nn

import paramgen
from benchmarks.coverage.reach_network import Limits, Row, send_row
from benchmarks.coverage.reach_sources import NARROW, shrinking
from paramgen.architectures import Architecture, Inputs, resolve
from paramgen.errors import ParamgenError, one_line
from paramgen.initializers.library import KEPT, LIBRARY, PLAIN
from paramgen.prediction import Prediction, prepare
from paramgen.slots.manifest import state_of

HE: Final = "he"
SEED: Final = 3
MOST: Final = 5  # faults and differences that are named
_PIECE: Final = 1 << 22  # elements that are hashed at a time

Digests = Mapping[str, str]


def measure(spec: str, limits: Limits, most: int, answers: Connection) -> None:
    """Send the row of a network; whatever it raises is a fault, but what is too large is skipped."""
    send_row(spec, limits, answers, lambda: _row(spec, most), lambda reason: {"faults": [reason]})


def _row(spec: str, most: int) -> Row:
    started = time.perf_counter()
    try:
        changes, architecture = _by_name(spec)
        elements = architecture.manifest.elements
        if elements > most:  # before it is traced, which of the largest takes minutes
            return {"skipped": f"{elements:,} elements, of which at most {most:,} are built here"}
        named = prepare(spec, init=HE, seed=SEED, overrides=changes)
    except ParamgenError as error:
        return {"skipped": f"the library's name alone builds nothing: {one_line(error)}"}
    try:
        module = built(spec, named.architecture)
    except Exception as error:  # some constructors work on the meta device alone
        return {"skipped": f"the library does not build it: {type(error).__name__}: {one_line(error)}"}
    example = named.architecture.example if named.graph.ordered else None  # one that does not fit is not passed
    faults = list(untouched(module, example))
    rules, others = filled(module, example)
    faults += others
    compared, differences = compared_with(module, rules, named)
    return {
        "elements": elements,
        "tensors": len(state_of(module)),
        "changed": dict(changes),
        "traced_by": named.graph.traced_by,
        "faults": faults[:MOST],
        "slots_compared": compared,
        "slots_differing": len(differences),
        "differences": differences[:MOST],
        "seconds": round(time.perf_counter() - started, 1),
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _by_name(spec: str) -> tuple[Mapping[str, Any], Architecture]:
    """Build the network by its name, with fewer layers, experts and words where its config has them."""
    for changes in (shrinking(spec, NARROW), shrinking(spec)):
        if changes:
            with suppress(ParamgenError):
                return changes, resolve(spec, changes)
    return {}, resolve(spec)


def built(spec: str, architecture: Architecture) -> nn.Module:
    """Return the network as a user builds it: in memory, its values drawn by the library."""
    source, _, name = spec.partition(":")
    twin: Any = architecture.module
    torch.manual_seed(SEED)
    if source == "timm":
        import timm

        made = timm.create_model(name)
    elif source == "torchvision":
        import torchvision

        made = torchvision.models.get_model(name, weights=None)
    elif source == "diffusers":
        made = type(twin).from_config(dict(twin.config))
    else:
        made = type(twin)(copy.deepcopy(twin.config))
    assert isinstance(made, nn.Module)
    return made


def untouched(module: nn.Module, example: Inputs | None) -> Iterator[str]:
    """Fill a module with what it holds, and yield what changed."""
    before = digests(module)
    rules = paramgen.initialize_(module, init=LIBRARY, seed=SEED, example_input=example)
    after = digests(module)
    yield from (f"library changed {name}" for name in before if before[name] != after[name])
    yield from (f"library fills {name} by {rule!r}" for name, rule in rules.items() if rule != KEPT)


def filled(module: nn.Module, example: Inputs | None) -> tuple[Mapping[str, str], list[str]]:
    """Fill a module's linear maps, and return the rules and what is not finite, not kept, or another tensor now."""
    state, before = state_of(module), digests(module)
    rules = paramgen.initialize_(module, init=HE, seed=SEED, example_input=example)
    after = digests(module)
    faults = []
    for name, tensor in state_of(module).items():
        if tensor is not state[name]:
            faults.append(f"{name} is another tensor than before, so a tie or an optimizer has lost it")
        if rules.get(name) == HE and not bool(tensor.isfinite().all()):
            faults.append(f"he leaves {name} not finite")
        if rules.get(name) == KEPT and before[name] != after[name]:
            faults.append(f"he changed {name}, which it says is kept")
    return rules, faults


def compared_with(module: nn.Module, rules: Mapping[str, str], named: Prediction) -> tuple[int, list[str]]:
    """Return how many slots a live module and its name have in common, and which have another rule or value.

    What a constructor is known to draw, by name, is what the live module holds.
    """
    state, manifest = state_of(module), named.architecture.manifest
    holders = {id(tensor): rules[name] for name, tensor in state.items() if name in rules}  # of tied names, one has it
    live = {name: holders[id(tensor)] for name, tensor in state.items() if id(tensor) in holders}
    wanted = {name: named.rules[slot.tied_to or name] for name, slot in manifest.items()}
    common = sorted(live.keys() & wanted.keys())
    found = [
        f"{name}: live {live[name]}, by name {wanted[name]}"
        for name in common
        if live[name] != (KEPT if wanted[name] in (LIBRARY, PLAIN) else wanted[name])
    ]
    same = [slot for slot in manifest.filled if live.get(slot.name) == wanted[slot.name] == HE and slot.name in rules]
    for slot in sorted(same, key=lambda slot: slot.elements)[:3]:  # drawn by name and seed
        ((_, value),) = named.only([slot.name])
        if not torch.equal(value, state[slot.name].to(value.dtype)):
            found.append(f"{slot.name}: he draws other values")
    return len(common), found


def digests(module: nn.Module) -> Digests:
    """Return the digest of every parameter and buffer, those that no state dict has among them."""
    buffers = {name: tensor for name, tensor in module.named_buffers() if name not in state_of(module)}
    return {name: _digest(tensor) for name, tensor in (state_of(module) | buffers).items()}


def _digest(tensor: Tensor) -> str:
    digest = sha256()
    for piece in tensor.detach().reshape(-1).split(_PIECE):
        digest.update(piece.contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
