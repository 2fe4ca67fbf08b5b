"""Every error paramgen raises on purpose: one line that says what was given, what is allowed and what to type next.

```
ParamgenError
├── UnknownNameError          a name that no registry, library or option list knows
├── OptionError               an option or a --set value that cannot be used
│   └── UnconfirmedError      ... because it would download what nobody confirmed
├── MissingPackageError       an optional library is not installed
├── ArchitectureError         an architecture that cannot be built
├── TraceError                a network whose forward pass cannot be followed
│   ├── EndlessError          ... because it does not return in time
│   └── MisfitError           ... because it refuses its example input
├── GraphError                a graph that breaks the schema or a limit
├── HypernetError             a hypernet that cannot be read or predicts rubbish
├── PipelineError             a diffusion pipeline, or a prompt for it, that cannot be used
├── ForeignError              a published checkpoint that is refused or cannot be converted
├── ZooError                  a zoo of checkpoints, or one of them, that is refused
├── RecipeError               a recipe that is refused, or whose values cannot be made here
├── IncompleteStateError      a slot without a tensor, or with two
├── OutputError               a folder or file that cannot be written
├── HubError                  a repository of the Hub that cannot be pushed to
├── EndpointError             a server that cannot be reached, refuses, or sends something else
└── CheckError                a folder that the target library does not load as written
```

Messages are written with the options of the command line, and `message` is what was written; `str(error)` says the
same with the keywords of Python.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from paramgen.errors.option_names import in_python

MAX_REASON = 300
_REPLACED = "\N{REPLACEMENT CHARACTER}"


def one_line(reason: object) -> str:
    """Return what another library's error says as one line of limited length."""
    text = reason.message if isinstance(reason, ParamgenError) else str(reason)
    text = harmless(" ".join(text.split()))
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def harmless(text: str) -> str:
    """Return text as a terminal may show it: what would move, colour, rename or hide something is replaced.

    That is what is not printable, but for blanks and line ends: control characters, marks of the direction of writing,
    halves of pairs.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in " \n\t" else _REPLACED for letter in text)


class ParamgenError(Exception):
    """The root of the tree: catch this one to catch them all."""

    def __str__(self) -> str:
        return in_python(self.message)

    @property
    def message(self) -> str:
        """The message with the options of the command line, as the command prints it and records keep it."""
        return super().__str__()


class UnknownNameError(ParamgenError):
    """A name that no registry, library or option list knows."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], hint: str = "") -> "UnknownNameError":
        """Build the message: the name given, the nearest known ones, and what to type next."""
        names = sorted(known)
        folded = {candidate.lower(): candidate for candidate in names}
        near = [folded[match] for match in get_close_matches(name.lower(), folded, n=3, cutoff=0.5)]
        if near:
            allowed = "Did you mean " + " or ".join(repr(match) for match in near) + "?"
        elif len(names) <= 12:
            allowed = f"Known: {', '.join(names)}."
        else:
            allowed = f"{len(names)} names are known."
        return cls(f"Unknown {kind} {name!r}. {allowed} {hint}".strip())


class OptionError(ParamgenError):
    """An option or a --set value that cannot be used."""


class UnconfirmedError(OptionError):
    """Something would have to be downloaded, which nobody confirmed; `details` say what, and how large it is."""

    def __init__(self, what: str, *, advice: str, details: Mapping[str, Any]) -> None:
        super().__init__(f"{what} {advice}")
        self.what, self.details = what, dict(details)


class MissingPackageError(ParamgenError, ImportError):
    """An optional library is not installed."""


class ArchitectureError(ParamgenError):
    """An architecture that cannot be built."""


class TraceError(ParamgenError):
    """A network whose forward pass cannot be followed."""


class EndlessError(TraceError):
    """A network whose forward pass does not return in time."""


class MisfitError(TraceError):
    """A network whose forward pass raises what modules raise at inputs that are not theirs."""


class TraceWarning(UserWarning):
    """A network whose order of execution is not known, which few initializers make use of then."""


class GraphError(ParamgenError):
    """A graph that breaks the schema or a limit."""


class HypernetError(ParamgenError):
    """A hypernet that cannot be read or predicts rubbish."""


class PipelineError(ParamgenError):
    """A diffusion pipeline, or a prompt for it, that cannot be used."""


class ForeignError(ParamgenError):
    """A published checkpoint that is refused or cannot be converted."""


class ZooError(ParamgenError):
    """A zoo of checkpoints, or one of them, that is refused."""


class RecipeError(ParamgenError):
    """A recipe that is refused, or whose values cannot be made here."""


class IncompleteStateError(ParamgenError):
    """A slot without a tensor, or with two."""


class OutputError(ParamgenError):
    """A folder or file that cannot be written."""


class HubError(ParamgenError):
    """A repository of the Hub that cannot be pushed to."""


class EndpointError(ParamgenError):
    """A server that cannot be reached, refuses, or sends something else."""


class CheckError(ParamgenError):
    """A folder that the target library does not load as written."""
