"""A trained GPT-2, Llama or BERT whose weights another model of its family uses: what is stored for each slot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from paramgen.architectures import Architecture
from paramgen.architectures.transformers import completed_config
from paramgen.errors import OptionError
from paramgen.hub.trained import Trained
from paramgen.language.families import Family
from paramgen.language.sizes import Sizes, family_of, refuse_other, sizes_of
from paramgen.storage.reading import Stored


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """A trained model (`before`) and the architecture that is to be filled (`now`), both of one family."""

    trained: Trained
    family: Family
    before: Sizes
    now: Sizes
    config: Mapping[str, Any]  # of the architecture that is to be filled

    def stored(self, slot: str, shape: tuple[int, ...]) -> Stored:
        """Return the tensor that is stored for a slot; for a tied head, the embedding.

        Raises:
            OptionError: There is none, it has another shape, or it does not hold floating-point numbers.

        """
        path = self.trained.path
        found = self.trained.find(slot)
        if found is None and slot in self.family.head:
            found = self.trained.find(self.family.head[slot])
        if found is None:
            raise OptionError(f"{path!r} has no tensor {slot!r}. Get the whole model. {self.trained.advice}")
        if found.shape != shape or not found.dtype.is_floating_point:
            raise OptionError(
                f"{path!r} has {found.name!r} of shape {found.shape} and {found.dtype}; its config.json needs "
                f"numbers of shape {shape}. Get the model again."
            )
        return found


def source_of(trained: Trained, architecture: Architecture) -> Source:
    """Return the trained model beside the architecture that is to be filled.

    Raises:
        OptionError: They are of different families, or compute different functions of equal weights.

    """
    config = architecture.layout.config
    family = family_of(config, architecture.spec)
    before = completed_config(trained.folder)
    what = repr(trained.path)
    if before.get("model_type") != family.model_type:
        raise OptionError(
            f"{what} is a {before.get('model_type')}, {architecture.spec} a {family.model_type}; {trained.init} stays "
            f"in the family. {trained.advice}"
        )
    refuse_other(family, before, config, what)
    return Source(
        trained=trained,
        family=family,
        before=sizes_of(family, before, what),
        now=sizes_of(family, config, architecture.spec),
        config=config,
    )
