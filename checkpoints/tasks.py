"""Translation tasks: chains of one to three edits, each with several phrasings, split into training and test.

Everything follows from the version of the grammar, the seed and the counts. Test tasks are of three kinds: new chains
of edits that training has, such chains in words that training never has, and edits that training never has.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, final

from PIL import Image

from checkpoints.edits import EDITS, Edit
from paramgen.errors import ZooError

GRAMMAR_VERSION: Final = 1
MAX_EDITS: Final = 3
PHRASINGS: Final = 6

Novelty = Literal["", "chain", "words", "edit"]
TaskSplit = Literal["train", "validation", "test"]

_TEMPLATES: Final = {
    1: ("{0}", "apply {0}", "{0} to the photo", "a picture with {0}"),
    2: ("{0} then {1}", "{0}, then {1}", "{0} followed by {1}", "{1} after {0}", "first {0}, afterwards {1}"),
    3: ("{0} then {1} then {2}", "{0}, {1} and finally {2}", "{0} followed by {1}, then {2}", "{2} after {0} and {1}"),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EditTask:
    """A task: edits of a picture and the phrasings of it. `novelty` says what is new in a test task."""

    edits: tuple[str, ...]
    texts: tuple[str, ...]
    split: TaskSplit
    novelty: Novelty = ""

    @property
    def id(self) -> str:
        """The names of the edits, in order."""
        return ".".join(self.edits)

    def apply(self, picture: Image.Image) -> Image.Image:
        """Return the edited picture."""
        for name in self.edits:
            picture = EDITS[name].apply(picture)
        return picture

    def to_json(self) -> dict[str, Any]:
        """Return the entry of tasks.json."""
        return {
            "edits": list(self.edits),
            "texts": list(self.texts),
            "split": self.split,
            "novelty": self.novelty,
        }

    @classmethod
    def from_json(cls, given: Any) -> "EditTask":
        """Return a task; raise ZooError if an edit is unknown."""
        try:
            edits, texts = tuple(given["edits"]), tuple(map(str, given["texts"]))
            found = cls(edits=edits, texts=texts, split=given["split"], novelty=given["novelty"])
        except (KeyError, TypeError) as error:
            raise ZooError(f"A task lacks {error}; each has edits, texts, split and novelty.") from error
        unknown = [str(edit) for edit in edits if not isinstance(edit, str) or edit not in EDITS]
        if unknown or not 1 <= len(edits) <= MAX_EDITS:
            raise ZooError(f"A task has the edits {', '.join(map(str, edits))[:200]!r}; allowed are 1 to 3 known ones.")
        return found


def edit_tasks(*, train: int, validation: int, test: int, seed: int = 0) -> tuple[EditTask, ...]:
    """Return the tasks of every split. With more tasks in a split its first ones stay the same."""
    draw = random.Random(f"{GRAMMAR_VERSION} {seed} kept for later")
    taken: set[frozenset[str]] = set()
    kinds: tuple[Novelty, ...] = ("chain", "words", "edit")
    tests = [_test(kinds[index % 3], draw, taken) for index in range(test)]
    held = [_task(_chain(draw, taken, _seen()), draw, "validation") for _ in range(validation)]
    draw = random.Random(f"{GRAMMAR_VERSION} {seed} train")
    singles = [edit for edit in _seen() if frozenset([edit.name]) not in taken]
    taken |= {frozenset([edit.name]) for edit in singles}
    trained = [_task((edit,), draw, "train") for edit in singles[:train]]
    while len(trained) < train:
        trained.append(_task(_chain(draw, taken, _seen()), draw, "train"))
    return (*trained, *held, *tests)


def _seen() -> list[Edit]:
    return [edit for edit in EDITS.values() if not edit.held_out]


def _chain(
    draw: random.Random, taken: set[frozenset[str]], pool: Sequence[Edit], first: Edit | None = None
) -> tuple[Edit, ...]:
    """Draw two or three edits, with `first` among them, that no other task has in any order."""
    for _ in range(10_000):
        chosen = draw.sample(pool, draw.choice((2, 2, 3)) - (first is not None))
        if first is not None:
            chosen.insert(draw.randint(0, len(chosen)), first)
        names = frozenset(edit.name for edit in chosen)
        if names not in taken and len({_root(edit) for edit in chosen}) == len(chosen):
            taken.add(names)
            return tuple(chosen)
    raise ZooError(f"The grammar has no chains left beyond {len(taken):,} tasks. Ask for fewer.")


def _root(edit: Edit) -> str:
    """Return what two strengths of one edit have in common; they are never chained."""
    return edit.name.partition("-")[0]


def _test(kind: Novelty, draw: random.Random, taken: set[frozenset[str]]) -> EditTask:
    if kind == "chain":
        return _task(_chain(draw, taken, _seen()), draw, "test", kind)
    if kind == "words":
        first = draw.choice([edit for edit in _seen() if edit.unseen])
        return _task(_chain(draw, taken, _seen(), first), draw, "test", kind)
    first = draw.choice([edit for edit in EDITS.values() if edit.held_out])
    if frozenset([first.name]) not in taken:
        taken.add(frozenset([first.name]))
        return _task((first,), draw, "test", kind)
    return _task(_chain(draw, taken, _seen(), first), draw, "test", kind)


def _task(edits: tuple[Edit, ...], draw: random.Random, split: TaskSplit, novelty: Novelty = "") -> EditTask:
    """Return a chain with its phrasings: any phrase of an edit may fill any template."""
    templates = _TEMPLATES[len(edits)]
    texts: list[str] = []
    for _ in range(20 * PHRASINGS):
        phrases = [draw.choice(_phrases(edit, novelty)) for edit in edits]
        text = draw.choice(templates).format(*phrases) if texts else templates[0].format(*phrases)
        if text not in texts:
            texts.append(text)
        if len(texts) == PHRASINGS:
            break
    return EditTask(edits=tuple(edit.name for edit in edits), texts=tuple(texts), split=split, novelty=novelty)


def _phrases(edit: Edit, novelty: Novelty) -> tuple[str, ...]:
    if edit.held_out or (novelty == "words" and edit.unseen):
        return edit.unseen
    return edit.words
