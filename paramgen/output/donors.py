"""The published models that an architecture may inherit from."""

from collections.abc import Mapping, Sequence
from typing import Any

from paramgen.architectures import Inputs
from paramgen.initializers.inheritance.licences import allowed_licences
from paramgen.initializers.inheritance.nearest import Donors, nearest
from paramgen.initializers.inheritance.network import Network
from paramgen.prediction import describe


def donors_of(
    arch: Any,
    *,
    overrides: Mapping[str, Any] | None,
    example_input: Inputs | None,
    license_allow: Sequence[str],
) -> Donors:
    """Build and trace an architecture and rank the published models of its family; the licences are checked first."""
    allowed = allowed_licences(license_allow)
    architecture, graph = describe(arch, overrides=overrides, example_input=example_input)
    return nearest(Network(architecture=architecture, graph=graph), allowed)
