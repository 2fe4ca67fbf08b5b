"""Class concepts: two classes to tell apart, with words. Test pairs are new, their classes are not."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, final

from checkpoints.concepts import Split
from paramgen.errors import OptionError, ZooError

TEMPLATES: Final = ("{0} against {1}", "tell {0} from {1}", "{0} or {1}", "{0} versus {1}", "is it {0} or {1}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ClassConcept:
    """A task: the first class is 0, the second 1."""

    classes: tuple[str, str]
    texts: tuple[str, ...]
    split: Split

    @property
    def id(self) -> str:
        """The names of the classes, in order."""
        return "-or-".join(self.classes)

    def to_json(self) -> dict[str, Any]:
        """Return what concepts.json has."""
        return {"classes": list(self.classes), "texts": list(self.texts), "split": self.split}

    @classmethod
    def from_json(cls, given: Any) -> "ClassConcept":
        """Return a concept, or say what it lacks."""
        try:
            first, second = map(str, given["classes"])
            return cls(classes=(first, second), texts=tuple(map(str, given["texts"])), split=given["split"])
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"A class concept lacks {error}; each has two classes, texts and split.") from error


def class_concepts(
    names: Sequence[str], *, train: int, validation: int, test: int, seed: int = 0
) -> tuple[ClassConcept, ...]:
    """Return so many pairs of each split; a pair is in one split, in one order."""
    pairs = [tuple(sorted(pair)) for pair in combinations(sorted(set(names)), 2)]
    asked = train + validation + test
    if asked > len(pairs):
        raise OptionError(f"{len(set(names))} classes have {len(pairs)} pairs; the recipe takes {asked}.")
    draw = random.Random(f"{seed} pairs")
    draw.shuffle(pairs)
    kinds: tuple[tuple[Split, int], ...] = (("test", test), ("validation", validation), ("train", train))
    splits = [split for split, count in kinds for _ in range(count)]
    found = []
    for (one, other), split in zip(pairs, splits, strict=False):
        first, second = (one, other) if draw.random() < 0.5 else (other, one)
        spoken = [name.replace("_", " ").replace("-", " ") for name in (first, second)]
        texts = tuple(template.format(*spoken) for template in TEMPLATES)
        found.append(ClassConcept(classes=(first, second), texts=texts, split=split))
    return tuple(sorted(found, key=lambda concept: ("train", "validation", "test").index(concept.split)))
