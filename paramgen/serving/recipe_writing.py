"""A prediction becomes a recipe: what could not be drawn again is refused first, then all tensors are made and hashed.

No tensor is kept: memory is bounded as for a folder, and nothing but the recipe is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from platform import machine
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Final, final

from paramgen.errors import OptionError
from paramgen.graphs.graph_json import graph_from_json, graph_to_json
from paramgen.initializers.library import KEPT
from paramgen.output.planning import FolderPlan, entries_of
from paramgen.output.stream import records_of
from paramgen.prediction import Prediction
from paramgen.prediction.progress import Progress
from paramgen.prediction.summary import Summary
from paramgen.registry.chains import THEN
from paramgen.serving.recipe import Recipe
from paramgen.serving.recipe_terms import checked_recipe_init
from paramgen.storage.digest import tensors_sha256
from paramgen.storage.folder import write_text
from paramgen.storage.unaltered import digests_of

ENDING: Final = ".json"
Digests = Callable[[], tuple[int, str]]
"""Returns the number of tensors and their sha256, where somebody else makes them."""


@final
@dataclass(frozen=True, kw_only=True)
class WrittenRecipe:
    """A recipe that was written.

    Args:
        file: Where it was written.
        prediction: What it makes.
        recipe: What it holds.
        nbytes: Of the file.
        folder_bytes: Of the files that the library reads, once they are made.
        seconds: That making and hashing all tensors took.

    """

    file: Path
    prediction: Prediction = field(repr=False)
    recipe: Recipe = field(repr=False)
    nbytes: int
    folder_bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            **Summary(prediction=self.prediction).to_json(),
            "recipe": str(self.file),
            "bytes": self.nbytes,
            "folder_bytes": self.folder_bytes,
            "tensors": self.recipe.tensors,
            "sha256": self.recipe.sha256,
            "seconds": round(self.seconds, 3),
        }

    def in_words(self) -> dict[str, Any]:
        """Return what the command prints, and what to type next."""
        manifest, rules = self.prediction.architecture.manifest, self.prediction.by_rule
        shares = (f"{count / max(manifest.elements, 1):.1%} by {rule}" for rule, count in rules.items())
        explained = self.prediction.explanation
        return {
            "recipe": f"{self.file}, {self.nbytes:,} bytes, of a folder of {self.folder_bytes:,}",
            "network": f"{self.prediction.architecture.spec}, {manifest.parameters:,} parameters: {', '.join(shares)}",
            **({"chosen": explained} if explained else {}),
            "digest": f"{self.recipe.sha256}, of {self.recipe.tensors:,} tensors, made in {self.seconds:.1f} s",
            "next": f"paramgen restore {self.file} --out FOLDER",
        }


def checked_file(file: Path, *, overwrite: bool) -> Path:
    """Return the name of the file for a recipe, or refuse it before anything is computed.

    Raises:
        OptionError: It has another ending, is a folder, or exists.

    """
    if file.suffix != ENDING:
        raise OptionError(f"{str(file)!r} has the ending {file.suffix!r}. Allowed for a recipe: {ENDING}")
    if file.exists() and (not overwrite or not file.is_file()):
        raise OptionError(f"{str(file)!r} exists. Type another name, or add --overwrite")
    return file


def write_recipe(
    plan: FolderPlan, file: Path, *, progress: Progress | None = None, digests: Digests | None = None
) -> WrittenRecipe:
    """Write the recipe of a planned folder; see `recipe_of`."""
    begun = perf_counter()
    recipe = recipe_of(plan, progress=progress, digests=digests)
    text = recipe.to_text()
    write_text(file, text)
    return WrittenRecipe(
        file=file,
        prediction=plan.prediction,
        recipe=recipe,
        nbytes=len(text.encode()),
        folder_bytes=sum(plan.files.values()),
        seconds=perf_counter() - begun,
    )


def recipe_of(plan: FolderPlan, *, progress: Progress | None = None, digests: Digests | None = None) -> Recipe:
    """Return the recipe of a planned folder.

    Args:
        plan: Of the folder that the recipe makes.
        progress: Called with the stage, the elements done and all elements.
        digests: Makes the tensors, where this process does not.

    Raises:
        OptionError: Some of the values could not be drawn again from a recipe.

    """
    prediction = plan.prediction
    checked_recipe_init(prediction.init, prediction)
    _refuse_kept(prediction)
    graph = _carried(prediction)
    elements = prediction.architecture.manifest.elements
    advance = None if progress is None else lambda stage, done: progress(stage, done, elements)
    tensors, digest = _digest(prediction, advance) if digests is None else digests()
    summary = Summary(prediction=prediction)
    companions = [list(words) for words in plan.companions]
    record = summary.record(max_shard=plan.max_shard, companion_files=companions)
    return Recipe(
        graph=graph,
        init=prediction.init,
        seed=prediction.seed,
        dtype=record["dtype"],
        initializer=record["initializer"],
        requested=record["requested"],
        notes=tuple(prediction.architecture.notes),
        trace_failures=tuple(prediction.graph.failures),
        companions=_companion_digests(plan),
        elements=elements,
        tensors=tensors,
        sha256=digest,
        versions={"paramgen": record["paramgen"], **record["versions"]},
        machine=machine(),
    )


def _digest(prediction: Prediction, advance: Callable[[str, int], None] | None) -> tuple[int, str]:
    records = records_of(prediction, advance)
    return len(records), tensors_sha256({entry.name: records[entry.name] for entry in entries_of(prediction)})


def _refuse_kept(prediction: Prediction) -> None:
    """Raise OptionError where values are those that a live module holds."""
    built_on = prediction.initializer.builds_on(prediction.architecture, prediction.graph)
    slots = [
        slot.name
        for slot in prediction.architecture.manifest.filled
        if prediction.rules[slot.name].partition(THEN)[0] == KEPT
        or (slot.name in built_on and slot.program is not None and slot.program.kept)
    ]
    if slots:
        raise OptionError(
            f"The module holds the values of {len(slots):,} slots, first {slots[0]!r}, and a recipe stores no values. "
            "Give the architecture as a name or as file.py:factory, or write the folder: paramgen.write(module, FOLDER)"
        )


def _carried(prediction: Prediction) -> str:
    """Return the graph's JSON, once what is read of it is the same network for the same folder."""
    architecture = prediction.architecture
    text = graph_to_json(architecture, prediction.graph)
    read, _ = graph_from_json(text)
    if read.layout != architecture.layout or architecture.extra:
        files = ", ".join(sorted({*architecture.layout.files} - {*read.layout.files})) or "its configuration"
        raise OptionError(
            f"A recipe cannot carry all of the folder of {architecture.spec!r}: {files}. Write the folder: "
            "paramgen predict --arch NAME --out FOLDER"
        )
    return text


def _companion_digests(plan: FolderPlan) -> dict[str, str]:
    """Return the sha256 of each file that is saved beside the weights."""
    if not plan.companions:
        return {}
    with TemporaryDirectory() as folder:
        for each in plan.companions.values():
            each.save_pretrained(folder)
        return digests_of(Path(folder))
