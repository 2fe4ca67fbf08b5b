"""What `restore` would write, known before a tensor is made: sizes, what it needs, and which versions differ here."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import machine
from typing import Any, final

from paramgen.errors import one_line
from paramgen.graphs.graph_json import graph_from_json
from paramgen.initializers import initializer_of
from paramgen.initializers.library import LIBRARY
from paramgen.modelcard.notebook import table
from paramgen.output.planning import plan_folder
from paramgen.prediction import prediction_of
from paramgen.serving.recipe import Recipe, read_recipe
from paramgen.serving.recipe_terms import checked_recipe_init, foreign_hypernet
from paramgen.storage.packed import Manifested, files_of


@final
@dataclass(frozen=True, kw_only=True)
class Restorable:
    """What would be written, and what that takes.

    Args:
        source: The recipe, or the folder in few bits.
        files: Every file with its size in bytes, but the record, the card and companions.
        made_of: What the values come from, in words by name.
        needs: What whoever restores has to name, by option: what the recipe calls it.
        versions: Of what made it, and of what is here; None where that is not installed.

    """

    source: Path
    files: Mapping[str, int]
    made_of: Mapping[str, Any]
    needs: Mapping[str, str]
    versions: Mapping[str, tuple[str, str | None]]

    def __repr__(self) -> str:
        return f"Restorable({str(self.source)!r}, {len(self.files)} files, {sum(self.files.values()):,} bytes)"

    def _repr_html_(self) -> str:
        return table(repr(self), ("file", "bytes"), list(self.files.items())[:12])

    @property
    def other_versions(self) -> list[str]:
        """What is of another version here, so that the same values are not certain to be made."""
        return [name for name, (there, here) in self.versions.items() if there != here]

    def to_json(self) -> dict[str, Any]:
        """Return what `--dry-run --json` prints."""
        return {
            "source": str(self.source),
            **self.made_of,
            "files": dict(self.files),
            "bytes": sum(self.files.values()),
            "needs": dict(self.needs),
            "versions": {name: {"there": there, "here": here} for name, (there, here) in self.versions.items()},
            "other_versions": self.other_versions,
        }

    def in_words(self) -> dict[str, Any]:
        """Return what `--dry-run` prints."""
        versions = (
            f"{name} {one_line(there)}{'' if there == here else f' (here {here})'}"
            for name, (there, here) in self.versions.items()
        )
        return {
            **{key: one_line(value) if isinstance(value, str) else value for key, value in self.made_of.items()},
            "files": dict(self.files),
            "bytes": sum(self.files.values()),
            "needs": {name: one_line(value) for name, value in self.needs.items()},
            **({"made with": ", ".join(versions)} if self.versions else {}),
        }


def restorable(source: Path) -> Restorable:
    """Return what `restore` would make of a recipe or of a folder in few bits; nothing is computed or written.

    Raises:
        RecipeError: The recipe is refused.
        CheckError: The folder is none, or not such as `predict --quantize` writes.

    """
    return _of_folder(files_of(source), source) if source.is_dir() else _of_recipe(read_recipe(source), source)


def _of_folder(found: Manifested, source: Path) -> Restorable:
    made_of = {"quantize": str(found.quantization), "tensors": found.tensors, "elements": found.elements}
    return Restorable(source=source, files=found.files, made_of=made_of, needs={}, versions={})


def _of_recipe(recipe: Recipe, source: Path) -> Restorable:
    checked_recipe_init(recipe.init)
    architecture, graph = graph_from_json(recipe.graph)
    plain = prediction_of(
        architecture, graph, initializer_of(LIBRARY), init=LIBRARY, seed=recipe.seed, dtype=recipe.dtype
    )  # sizes do not depend on values
    needs = recipe.companion_files
    if (hypernet := foreign_hypernet(recipe.init)) is not None:
        needs["--hypernet"] = hypernet
    versions = {name: (there, _here(name)) for name, there in recipe.versions.items()}
    made_of = {
        "spec": architecture.spec,
        "init": recipe.init,
        **({} if recipe.choice is None else {"resolved": recipe.choice.init}),
        "seed": recipe.seed,
        "parameters": architecture.manifest.parameters,
        "tensors": recipe.tensors,
    }
    return Restorable(
        source=source,
        files=plan_folder(plain, max_shard=recipe.requested["max_shard"]).files,
        made_of=made_of,
        needs=needs,
        versions={**versions, "machine": (recipe.machine, machine())},
    )


def _here(name: str) -> str | None:
    try:
        return version(name)
    except (PackageNotFoundError, ValueError):
        return None
