"""Prepare initial weights: build the network, fill it, train it a little, and write the ordinary folder."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from paramgen.architectures import Inputs, sources
from paramgen.architectures.inputs import typed
from paramgen.architectures.repository import pinned
from paramgen.comparison.data_module import Data, DataModule
from paramgen.comparison.initializers import prediction_of, requested_initializers
from paramgen.comparison.models import ModelUnderTest, model_under_test, try_out
from paramgen.comparison.outcome import DataSummary
from paramgen.comparison.protocol import Protocol
from paramgen.comparison.tasks import Task
from paramgen.comparison.training import loaded
from paramgen.errors import OptionError, OutputError, ParamgenError, one_line
from paramgen.graphs.graph_json import graph_hash
from paramgen.output.planning import plan_folder
from paramgen.output.write import Written, write_prediction
from paramgen.prediction import Prediction, Requested
from paramgen.prediction.progress import Progress
from paramgen.preparation import Objective, Preparation, Pupil, preparation_of
from paramgen.preparation.training import Course, train
from paramgen.preparation.weights import PreparedWeights
from paramgen.registry.architecture_names import refuse_unknown_name
from paramgen.registry.chains import split_chain
from paramgen.registry.synonyms import known_init
from paramgen.slots.manifest import state_of
from paramgen.storage.folder import checked_target
from paramgen.storage.work_folder import work_folder

MAX_SEED: Final = 2**63


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PreparationRequest:
    """What is to be prepared, and how; all but the architecture and the data."""

    how: str
    steps: int = 1000
    init: str = "library"
    seed: int = 0
    lr: float | None = None  # the largest; None: that of the preparation
    batch: int | None = None  # examples in a step; None: that of the preparation
    train_examples: int = 50_000
    length: int | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < MAX_SEED:
            raise OptionError(f"The seed is {self.seed!r}; allowed are 0 to 2**63 - 1. Type: --seed 0")

    def protocol(self, preparation: Preparation) -> Protocol:
        """Return the training: one learning rate, one seed, nothing that is tested."""
        own = preparation.training
        return Protocol(
            steps=self.steps,
            seeds=1,
            lr=own.lr if self.lr is None else self.lr,
            batch=own.batch if self.batch is None else self.batch,
            decay=own.decay,
            schedule=own.schedule,
            train_examples=self.train_examples,
            length=self.length,
        )


@final
@dataclass(frozen=True, kw_only=True)
class PreparedFolder:
    """What was written, and how the training went: `losses` are means of equal parts of it."""

    written: Written
    how: str
    steps: int
    losses: tuple[float, ...]
    seconds: float  # of training

    def __repr__(self) -> str:
        return (
            f"PreparedFolder({str(self.written.folder)!r}, {self.how!r}, {self.steps:,} steps, "
            f"loss {self.losses[0]:.4g} to {self.losses[-1]:.4g}, {self.seconds:.1f} s)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        training = {"how": self.how, "steps": self.steps, "losses": list(self.losses), "seconds": self.seconds}
        return {**self.written.to_json(), "preparation": training}


def prepare(
    arch: "str | nn.Module",
    folder: Path,
    request: PreparationRequest,
    *,
    data: Data | None = None,
    overrides: Mapping[str, Any] | None = None,
    example_input: Inputs | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> PreparedFolder:
    """Train the initial weights of `arch` a little and write the folder; the same call goes on where one was killed.

    Raises:
        ParamgenError: Anything cannot be used, the training diverges, or `folder` is no place.

    """
    preparation = preparation_of(request.how)
    protocol = request.protocol(preparation)
    _refuse_data(preparation, request, data)
    target = checked_target(folder, overwrite=overwrite)
    initializer = requested_initializers([init := known_init(request.init)])[init]
    if isinstance(arch, str):
        refuse_unknown_name(arch, sources.names())
    accelerator = Accelerator()
    model, task, opened = _built(arch, data, protocol, request, overrides=overrides, example=example_input)
    if opened is not None:
        initializer = opened.resolved(initializer)
    requested = Requested(
        arch=pinned(arch, model.architecture.spec) if isinstance(arch, str) else None,
        overrides=overrides or {},
        example_input=None if example_input is None else typed(example_input),
        tokenizer=request.tokenizer,
    )
    before = replace(prediction_of(model, init, initializer, request.seed), requested=requested)
    summary = None if opened is None else opened.describe()
    settings = _settings(model, preparation, request, protocol=protocol, summary=summary, before=before)
    with work_folder(target, settings, overwrite=overwrite) as work:
        try:
            pupil = _pupil(model, task, before, request=request, protocol=protocol, accelerator=accelerator)
            objective = preparation.objective(pupil)
            course = train(objective, protocol, work.path, seed=request.seed, accelerator=accelerator, report=progress)
            record = _record(
                request, preparation, protocol, summary=summary, course=course, objective=objective, data=data
            )
            after = _after(pupil, objective, before, record)
            plan = plan_folder(after, tokenizer=request.tokenizer)
            written = write_prediction(plan, folder, target=target, overwrite=overwrite, verify=True, progress=progress)
        except OutputError:  # what was trained so far is of use once there is room
            raise
        except ParamgenError:
            work.end()
            raise
        work.end()
    return PreparedFolder(
        written=written,
        how=request.how,
        steps=request.steps,
        losses=tuple(course.losses),
        seconds=round(course.seconds, 3),
    )


def _refuse_data(preparation: Preparation, request: PreparationRequest, data: Data | None) -> None:
    name = request.how.partition("?")[0].partition(":")[0]
    if data is None and preparation.needs_data:
        raise OptionError(
            f"--how {name} learns from data, and none are named. Type: --data FOLDER_OF_CLASS_FOLDERS, a text, "
            "torchvision:CIFAR10?root=DIR or datasets:NAME; without data there is --how warmup"
        )
    if data is not None and not preparation.takes_data:
        raise OptionError(f"--how {name} draws what it learns from. Leave --data out, or type --how distill:FOLDER")
    if request.tokenizer is not None and data is None:
        raise OptionError("--tokenizer is for a text, and there is none. Type: --data TEXT, or leave it out")


def _built(
    arch: "str | nn.Module",
    data: Data | None,
    protocol: Protocol,
    request: PreparationRequest,
    *,
    overrides: Mapping[str, Any] | None,
    example: Inputs | None,
) -> tuple[ModelUnderTest, Task | None, DataModule | None]:
    """Build the network, with a head that fits the data where there are any, and try it on a batch."""
    if data is None:
        model = model_under_test(arch, None, None, overrides=overrides, example=example)
        if _kind(model) == "text":
            try_out(model, torch.zeros_like(model.example, device="cpu"), "text", 2)
        return model, None, None
    opened = DataModule(data, protocol, tokenizer=request.tokenizer, cache=None)
    model = model_under_test(arch, opened.kind, opened.answers, overrides=overrides, example=example, size=opened.size)
    task = opened.task(model)
    try_out(model, next(task.train_batches(0, 2))[0], opened.kind, opened.answers)
    return model, task, opened


def _kind(model: ModelUnderTest) -> str:
    return "images" if model.dtype.is_floating_point else "text"


def _pupil(
    model: ModelUnderTest,
    task: Task | None,
    before: Prediction,
    *,
    request: PreparationRequest,
    protocol: Protocol,
    accelerator: Accelerator,
) -> Pupil:
    module = loaded(model, before.state_dict(progress=False)).to(accelerator.device)
    if before.initializer.constraint() is not None:  # known once all tensors were made
        raise OptionError(
            f"--init {one_line(request.init)!r} says which weights are zero, frozen or shared, and this training would "
            "change that. Prepare without it, and constrain afterwards. Type: --init "
            f"{one_line(split_chain(request.init)[0])}, then --init 'prepared:FOLDER|...'"
        )
    return Pupil(
        model=model,
        module=module,
        task=task,
        kind=_kind(model),
        seed=request.seed,
        batch=protocol.batch,
        steps=protocol.steps,
        device=accelerator.device,
    )


def _after(pupil: Pupil, objective: Objective, before: Prediction, record: Mapping[str, Any]) -> Prediction:
    """Return the prediction whose tensors are those that were trained."""
    state: Mapping[str, Tensor] = state_of(pupil.module) if objective.weights is None else objective.weights()
    trained = {
        slot.name: state[slot.name].detach().cpu()
        for slot in before.architecture.manifest.filled
        if slot.name not in objective.returned
    }
    weights = PreparedWeights(
        rule=str(record["how"]).partition("?")[0].partition(":")[0],
        trained=trained,
        before=before,
        record=record,
        kept=None if objective.masks is None else objective.masks(),
    )
    return replace(before, resolved=replace(before.resolved, initializer=weights))


def _record(
    request: PreparationRequest,
    preparation: Preparation,
    protocol: Protocol,
    *,
    summary: DataSummary | None,
    course: Course,
    objective: Objective,
    data: Data | None,
) -> dict[str, Any]:
    """Return what paramgen.json says of the preparation."""
    about = {} if summary is None else {"data": {"name": summary.name, "sha256": summary.sha256}}
    return {
        "how": request.how,
        "options": options_of(preparation),
        **preparation.describe(),
        "steps": request.steps,
        "lr": protocol.learning_rates[0],
        "batch": protocol.batch,
        "decay": protocol.decay,
        **about,
        "requested": _requested(request, data),
        "first_loss": float(f"{course.losses[0]:.6g}"),
        "loss": float(f"{course.loss:.6g}"),
        "returned": objective.note,
        "seconds": round(course.seconds, 3),
    }


def _requested(request: PreparationRequest, data: Data | None) -> dict[str, Any]:
    """Return the options that were typed, by their names."""
    given = {"data": str(data)} if isinstance(data, (str, Path)) else {}
    known = {each.name: each.default for each in fields(PreparationRequest)}
    others = ("lr", "batch", "train_examples", "length", "tokenizer")
    return given | {name: getattr(request, name) for name in others if getattr(request, name) != known[name]}


def options_of(preparation: Preparation) -> dict[str, Any]:
    """Return the options of a preparation, also those that were not typed."""
    found: dict[str, Any] = asdict(preparation)  # type: ignore[call-overload]  # registered are dataclasses
    return found


def _settings(
    model: ModelUnderTest,
    preparation: Preparation,
    request: PreparationRequest,
    *,
    protocol: Protocol,
    summary: DataSummary | None,
    before: Prediction,
) -> dict[str, Any]:
    """Return everything that decides the result."""
    return {
        "arch": [model.architecture.spec, graph_hash(model.graph)],
        "how": [request.how, options_of(preparation), dict(preparation.describe())],
        "data": None if summary is None else summary.sha256,
        "init": [request.init, before.resolved.describe()],
        "seed": request.seed,
        "training": protocol.to_json(),
        "version": version("paramgen"),
    }
