"""Several donors of one network: each gives what those before it lack."""

from collections.abc import Sequence

from paramgen.errors import OptionError, one_line
from paramgen.initializers.inheritance.donor import Donor
from paramgen.initializers.inheritance.network import Network
from paramgen.initializers.inheritance.plan import InheritancePlan, plan_of


def part_plans(donors: Sequence[Donor], network: Network, *, head: bool, into: str = "") -> list[InheritancePlan]:
    """Return the plan of each donor.

    Args:
        donors: The trained models, the first one first.
        network: The one that is to be filled.
        head: Whether the output's rows are taken, where their classes are known to be the same.
        into: The first donor is for the slots below this name alone.

    Raises:
        OptionError: Nothing is called so, or nothing of a donor fits, or is left for it.

    """
    left = frozenset(network.architecture.manifest)
    here = frozenset(name for name in left if not into or name == into or name.startswith(f"{into}."))
    if not here:
        parts = sorted({name.partition(".")[0] for name in left if "." in name})
        raise OptionError(
            f"into is {one_line(into)!r}, and {network.architecture.spec} has no such part. Parts: {', '.join(parts)}"
        )
    plans: list[InheritancePlan] = []
    for donor in donors:
        among = (here if into else None) if not plans else left
        if not any(slot.name in left and slot.dtype.is_floating_point for slot in network.architecture.manifest.filled):
            raise OptionError(f"{donor.path!r} is not needed: the donors before it give everything. Leave it out")
        plans.append(plan_of(donor, network, head=head, among=among))
        left = left.difference(plans[-1].pieces)
    return plans
