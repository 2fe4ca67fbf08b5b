"""What can be typed and what is known of it: names, initializers, donors, and what a folder or an architecture is."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from paramgen.api.inputs import inputs_of
from paramgen.api.typos import refuse_typos

if TYPE_CHECKING:
    from torch import nn

    from paramgen.api.types import Donors, Info
    from paramgen.comparison.models import ArchitectureLike
    from paramgen.output.initializers import Fitness


def info(what: str) -> "Info":
    """Return what a predicted folder, a hypernet or a pipeline holds, or what an architecture is.

    >>> paramgen.info("vision").facts["parameters"]
    """
    from paramgen.output.info import info_of

    return info_of(what)


def names(
    what: str = "architectures", source: str | None = None, pattern: str | None = None, *, facts: bool = False
) -> Mapping[str, Any]:
    """Return the names that can be typed, each with a line about it, or with `facts` what is known of it.

    Facts are known of hypernets and of initializers: `group`, `for`, `paper`, `applies_to` and `runs_network`.

    `what` is `architectures` (of a `source`, those that fit a `pattern`), `hypernets`, `initializers`, `modifiers`,
    `preparations` or `sources`.
    """
    from paramgen.output.names import listed

    return listed(what, source, pattern, facts=facts)


def fitting(
    arch: "ArchitectureLike", *, overrides: Mapping[str, Any] | None = None, example_input: Any = None
) -> "Mapping[str, Fitness]":
    """Return what every initializer would do to a network, by its name; no weight is computed.

    Each says whether it `applies`, the `share` of the elements that it would change, their number by rule (`rules`),
    and the `reason` where it does not apply.
    """
    refuse_typos(arch)
    from paramgen.output.initializers import fitting as fitting_of

    return fitting_of(arch, overrides=overrides, example_input=inputs_of(example_input))


def donors(
    arch: "str | nn.Module",
    *,
    overrides: Mapping[str, Any] | None = None,
    example_input: Any = None,
    license_allow: Sequence[str] = (),
) -> "Donors":
    """Return the published models that `arch` may inherit from, the nearest first; nothing is downloaded.

    >>> [donor.model.repo for donor in paramgen.donors("timm:resnet18", license_allow=["apache-2.0", "mit"])]

    Those whose licence allows any use are listed, or those under the licences of `license_allow`, by the Hub's names
    for them. Where there is none, `reason` says why. The others are those of `predict`.
    """
    refuse_typos(arch)
    from paramgen.output.donors import donors_of

    return donors_of(arch, overrides=overrides, example_input=inputs_of(example_input), license_allow=license_allow)
