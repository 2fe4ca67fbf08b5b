"""Classification tasks: two classes to tell apart, with phrasings. Test pairs are new, but not their classes."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, final

from checkpoints.tasks import TaskSplit
from paramgen.errors import OptionError, ZooError

TEMPLATES: Final = ("{0} against {1}", "tell {0} from {1}", "{0} or {1}", "{0} versus {1}", "is it {0} or {1}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTask:
    """A task: the first class is 0, the second 1."""

    classes: tuple[str, str]
    texts: tuple[str, ...]
    split: TaskSplit

    @property
    def id(self) -> str:
        """The names of the classes, in order."""
        return "-or-".join(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of tasks.json."""
        return {"classes": list(self.classes), "texts": list(self.texts), "split": self.split}

    @classmethod
    def from_json(cls, given: Any) -> "ClassTask":
        """Return a task; raise ZooError if a field is missing."""
        try:
            first, second = map(str, given["classes"])
            return cls(classes=(first, second), texts=tuple(map(str, given["texts"])), split=given["split"])
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"A class task lacks {error}; each has two classes, texts and split.") from error


def class_tasks(
    names: Sequence[str], *, train: int, validation: int, test: int, seed: int = 0
) -> tuple[ClassTask, ...]:
    """Return the pairs of every split; each pair occurs once, in one order."""
    pairs = [tuple(sorted(pair)) for pair in combinations(sorted(set(names)), 2)]
    requested = train + validation + test
    if requested > len(pairs):
        raise OptionError(f"{len(set(names))} classes have {len(pairs)} pairs; the recipe takes {requested}.")
    draw = random.Random(f"{seed} pairs")
    draw.shuffle(pairs)
    kinds: tuple[tuple[TaskSplit, int], ...] = (("test", test), ("validation", validation), ("train", train))
    splits = [split for split, count in kinds for _ in range(count)]
    found = []
    for (one, other), split in zip(pairs, splits, strict=False):
        first, second = (one, other) if draw.random() < 0.5 else (other, one)
        spoken = [name.replace("_", " ").replace("-", " ") for name in (first, second)]
        texts = tuple(template.format(*spoken) for template in TEMPLATES)
        found.append(ClassTask(classes=(first, second), texts=texts, split=split))
    return tuple(sorted(found, key=lambda task: ("train", "validation", "test").index(task.split)))
