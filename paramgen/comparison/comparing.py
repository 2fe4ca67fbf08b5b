"""Compare initializers: open the data, build the models under test, refuse what cannot be, then train run after run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from accelerate import Accelerator
from torch import nn

from paramgen._optional import require
from paramgen.architectures import Inputs
from paramgen.comparison.data.text import BYTE_VALUES
from paramgen.comparison.data_module import Data, DataModule
from paramgen.comparison.environment import environment_of
from paramgen.comparison.initializers import (
    Initializers,
    identity_of,
    note_choices,
    refuse_constrained,
    refuse_library_alone,
    refuse_shared,
    requested_initializers,
)
from paramgen.comparison.models import ArchitectureLike, model_under_test, try_out
from paramgen.comparison.mup_rates import mup_factors, no_factors
from paramgen.comparison.outcome import Comparison
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.report import write_report
from paramgen.comparison.runner import Progress, Runner
from paramgen.comparison.runs import Store
from paramgen.comparison.summary import architecture_result
from paramgen.comparison.training import Job
from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_hash
from paramgen.language.tokenizers import MOST
from paramgen.registry.overrides import split_spec
from paramgen.registry.synonyms import known_init

CACHE: Final = "cache"


def compare(
    architectures: ArchitectureLike | Sequence[ArchitectureLike],
    data: Data,
    inits: Sequence[str],
    protocol: Protocol,
    out: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    tokenizer: str | None = None,
    vocabulary: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Train every architecture from the initial weights of every initializer, and return what came of it.

    Args:
        architectures: What `predict` takes, live modules, or pairs of a name and a function that builds a module.
        data: A folder of class folders, a tar of it, a text, `torchvision:NAME`, `datasets:NAME`; or two `Pixels`.
        inits: The initializers.
        protocol: How the network is trained from each of them.
        out: Where runs and results are kept. A second call with the same settings goes on where the first ended.
        overrides: As for `predict`, for all architectures.
        example_input: As for `predict`, for all architectures.
        tokenizer: For a text: a folder, a tokenizer.json or a Hub repository. Without it, bytes are learnt, unless
            all architectures were given a larger `vocab_size`: a tokenizer of that many tokens is trained then.
        vocabulary: For a text: number of tokens of a tokenizer that is trained on it, and kept in `out`.
        cache: Where decoded images are kept; without it, in `out`.
        progress: Called after every part of a run, and when one has ended.

    Raises:
        ParamgenError: The data, an architecture or an initializer cannot be used, or `out` belongs to something else.

    """
    requested = requested_initializers([known_init(init) for init in inits])
    refuse_shared(requested, protocol)
    refuse_constrained(requested, protocol)
    _refuse_early(protocol, out, data)
    accelerator = _accelerator()
    listed = _listed(architectures)
    module = DataModule(
        data,
        protocol,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        typed=typed_vocabulary(listed, overrides or {}),
        cache=out / CACHE if cache is None and out else cache,
    )
    requested = {init: module.resolved(initializer) for init, initializer in requested.items()}
    jobs = _jobs(listed, module, requested, accelerator, overrides=overrides, example=example_input)
    settings = _settings(jobs, requested, module)
    store = Store(out)
    store.refuse_others(settings)
    store.begin(settings)
    module.keep(out)
    runner = Runner(requested, protocol, store, jobs=len(jobs), progress=progress)
    for job in jobs:
        runner.run(replace(job, task=job.task.to(accelerator.device)))
    found = Comparison(
        architectures=tuple(architecture_result(job, list(requested), store) for job in jobs),
        data=module.describe(),
        protocol=protocol,
        settings=settings,
        environment=environment_of(accelerator.device),
    )
    if out is not None:
        write_report(found, out)
    return found


def _refuse_early(protocol: Protocol, out: Path | None, data: Data) -> None:
    """Raise an error now, and not after hours of training, where a library is missing or `out` is no place."""
    if protocol.seeds > 1:
        require("scipy", extra="compare")
    if out is None:
        return
    require("matplotlib", extra="compare")
    # Our own pictures would be taken for data by the next call.
    if isinstance(data, (str, Path)) and Path(data).is_dir() and out.resolve().is_relative_to(Path(data).resolve()):
        raise OptionError(f"The folder {str(out)!r} lies within the data, {str(data)!r}. Type another one: --out NAME")


def _jobs(
    listed: Sequence[ArchitectureLike],
    module: DataModule,
    requested: Initializers,
    accelerator: Accelerator,
    *,
    overrides: Mapping[str, Any] | None,
    example: Inputs | None,
) -> list[Job]:
    """Build every model under test, try it on a batch of two, and refuse what cannot be compared."""
    jobs, idle = [], {}
    kind, answers, size = module.kind, module.answers, module.size  # the size is read from a file: once
    for given in listed:
        model = model_under_test(given, kind, answers, overrides=overrides, example=example, size=size)
        idle[model.name] = note_choices(model, requested)
        task = module.task(model)
        try_out(model, next(task.train_batches(0, 2))[0], kind, answers)
        base = module.protocol.mup_base
        factors = no_factors() if base is None else mup_factors(model, base)
        jobs.append(Job(model=model, task=task, protocol=module.protocol, accelerator=accelerator, lr_factors=factors))
    refuse_library_alone(requested, idle)
    return jobs


def _listed(architectures: ArchitectureLike | Sequence[ArchitectureLike]) -> list[ArchitectureLike]:
    """Return what was given as a list, each with a name of its own."""
    single = isinstance(architectures, (str, nn.Module)) or (
        isinstance(architectures, tuple)
        and len(architectures) == 2
        and callable(architectures[1])
        and not isinstance(architectures[1], nn.Module)
    )
    listed: list[ArchitectureLike] = [architectures] if single else list(architectures)  # type: ignore[list-item, arg-type]
    if not listed:
        raise OptionError("No architecture is named. Type: --arch vit_b16")
    names = [each if isinstance(each, str) else each[0] for each in listed if isinstance(each, (str, tuple))]
    if len(set(names)) < len(names):
        raise OptionError(f"The architecture {max(names, key=names.count)!r} is named twice. Type each --arch once.")
    return listed


def typed_vocabulary(architectures: Sequence[ArchitectureLike], overrides: Mapping[str, Any]) -> int | None:
    """Return the least of the vocabularies that were typed for all architectures, if each is larger than bytes need."""
    specs = [split_spec(each)[1] if isinstance(each, str) else {} for each in architectures]
    sizes = [{**typed, **overrides}.get("vocab_size") for typed in specs]
    known = [size for size in sizes if type(size) is int and size > BYTE_VALUES]
    return min(*known, MOST) if len(known) == len(sizes) else None


def _accelerator() -> Accelerator:
    accelerator = Accelerator()
    if accelerator.num_processes > 1:
        raise OptionError(
            f"compare runs in one process; there are {accelerator.num_processes}. Start it without a launcher."
        )
    return accelerator


def _settings(jobs: Sequence[Job], requested: Initializers, module: DataModule) -> dict[str, Any]:
    """Return everything that decides the results: with other settings, finished runs are of no use."""
    models = [job.model for job in jobs]
    settings = {
        **module.protocol.to_json(),
        "architectures": {model.name: graph_hash(model.graph) for model in models},
        "inits": {init: identity_of(initializer, models) for init, initializer in requested.items()},
        "data": module.identity,
        "mixed_precision": jobs[0].accelerator.mixed_precision,
        "version": version("paramgen"),
    }
    found: dict[str, Any] = json.loads(json.dumps(settings))  # as a file gives them back
    return found
