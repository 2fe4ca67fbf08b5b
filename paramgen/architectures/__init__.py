"""Architectures: names, files and modules turned into networks on the meta device.

An `Architecture` is everything paramgen knows of a network: its module without data, its manifest with the
init program of each slot, an example input, and the folder that the target library reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

import torch
from torch import nn

from paramgen.errors import ArchitectureError, OptionError, ParamgenError, UnknownNameError, one_line
from paramgen.modelcard.notebook import table
from paramgen.registry import Registry, Spec
from paramgen.registry.aliases import ALIASES
from paramgen.registry.architecture_names import unknown_architecture
from paramgen.registry.overrides import split_spec
from paramgen.slots.manifest import Manifest
from paramgen.storage.json_file import read_json_object

if TYPE_CHECKING:
    from paramgen.architectures.followed import TokenizerVocabulary

MAX_CONFIG_BYTES = 1_000_000

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional and keyword arguments of a forward pass."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FolderLayout:
    """The folder that a library reads: its config.json, its weights file, and how it wants tied tensors."""

    source: str
    config: Mapping[str, Any]
    weights_file: str = "model.safetensors"
    shardable: bool = False
    tied: Literal["once", "each"] = "each"  # under one name, or under every name
    dtype_key: str | None = None  # the entry of config.json that names the dtype
    files: Mapping[str, str] = field(default_factory=dict)  # what else is text: name and content

    def __repr__(self) -> str:
        return f"Layout({self.source!r}, {self.weights_file!r})"


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Architecture:
    """A network that is to be filled. `module` is None where only its graph is known."""

    spec: str
    manifest: Manifest
    layout: FolderLayout
    module: nn.Module | None = None
    example: Inputs | None = None
    guessed: bool = False
    """Whether nobody said what it takes, and `example` was guessed from its first layer."""
    pixel_std: float | None = None
    """By which its images are normalized, on a scale of 0 to 1, where its library says so; the mean of the colours."""
    notes: tuple[str, ...] = ()
    """What was decided without being typed, in sentences."""
    construct: Callable[[], nn.Module] | None = None
    """Calls the library's constructor again, on any device; None for a live module, and where only a graph is known."""
    extra: Mapping[str, Callable[[], Any]] = field(default_factory=dict, repr=False)
    """What makes each entry of a live module's extra state, which only the module itself understands."""

    def __repr__(self) -> str:
        built = "" if self.module is None else f"{type(self.module).__name__}, "
        return (
            f"Architecture({self.spec!r}, {built}{self.manifest.parameters:,} parameters in {len(self.manifest)} slots)"
        )

    def _repr_html_(self) -> str:
        largest = sorted(self.manifest.filled, key=lambda slot: -slot.elements)[:12]
        rows = [(slot.name, "x".join(map(str, slot.shape)), slot.elements) for slot in largest]
        return table(repr(self), ("largest slots", "shape", "elements"), rows)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """What a library's own loader made of a folder."""

    module: nn.Module
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    def __repr__(self) -> str:
        wrong = len(self.missing) + len(self.unexpected) + len(self.mismatched)
        return f"Loaded({type(self.module).__name__}, {wrong} keys do not fit)"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureRequest:
    """What a caller asks for: a name, its overrides (--set) and, if need be, an example input.

    Where the network is to read the `tokens` of a tokenizer, its config follows it in all but what is `typed`.
    """

    name: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    example: Inputs | None = None
    tokens: "TokenizerVocabulary | None" = None
    typed: frozenset[str] = frozenset()


class ArchitectureSource(ABC):
    """A library whose networks we build, and whose folders we write."""

    @abstractmethod
    def build(self, request: ArchitectureRequest) -> Architecture:
        """Build the network on the meta device."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Every name that `build` takes, as far as they can be listed."""

    @abstractmethod
    def load(self, folder: Path, device: torch.device) -> LoadedModel:
        """Load `folder` with the library's own loader."""

    def example_of(self, module: nn.Module) -> Inputs | None:
        """Return an example input of a live module of this library; None where it is of another, or not known."""
        return None

    def pixel_std_of(self, module: nn.Module) -> float | None:
        """Return the std by which images for this module are normalized, where the library says so."""
        return None


sources: Registry[ArchitectureSource] = Registry("architecture source", "paramgen.architectures")


def library_example(module: nn.Module) -> Inputs | None:
    """Return an example input of a live module from the library that it comes from; None where none knows it."""
    found = (sources.get(name)().example_of(module) for name in sources.names())
    return next((example for example in found if example is not None), None)


def library_pixel_std(module: nn.Module) -> float | None:
    """Return the std by which images for a live module are normalized; None where no library says so."""
    found = (sources.get(name)().pixel_std_of(module) for name in sources.names())
    return next((std for std in found if std is not None), None)


def resolve(
    spec: str,
    overrides: Mapping[str, Any] | None = None,
    example: Inputs | None = None,
    *,
    tokens: "TokenizerVocabulary | None" = None,
) -> Architecture:
    """Build the architecture that `spec` names; a language model's config follows the tokenizer of the `tokens`.

    `spec` is `source:name`, a bare alias, `path/to/file.py:factory`, `package.module:factory`, the path of a
    config.json that transformers or diffusers wrote (or of its folder), or a repository of the Hub with one.

    Raises:
        UnknownNameError: `spec` names nothing.
        ArchitectureError: The network cannot be built.
        OptionError: An override is refused.
    """
    from paramgen.architectures.followed import typed_keys
    from paramgen.architectures.repository import from_repository, is_repository
    from paramgen.architectures.user_code import is_code

    if is_code(spec) and spec.partition(":")[0] not in sources.names():
        name = f"{spec}:" if spec.endswith(".py") else spec
        return sources.get("module")().build(ArchitectureRequest(name=name, overrides=overrides or {}, example=example))
    bare, typed = split_spec(spec)
    spec, own = split_spec(ALIASES.get(bare, bare))
    typed |= overrides or {}
    overrides = {**own, **typed}
    options: dict[str, Any] = {"overrides": overrides, "example": example, "tokens": tokens}
    options["typed"] = typed_keys(typed)
    if spec.endswith(".json") or is_config_folder(spec):
        spec = spec_of_config(Path(spec))
    elif is_repository(spec):
        return from_repository(ArchitectureRequest(name=spec, **options))
    parsed = Spec.parse(spec)
    if not parsed.argument or parsed.kind not in sources.names():
        raise unknown_architecture(spec, sources.names())
    return sources.get(parsed.kind)().build(ArchitectureRequest(name=parsed.argument, **options))


def is_config_folder(name: str) -> bool:
    """Whether `name` is the path of a folder with a config.json."""
    try:
        return (Path(name) / "config.json").is_file()
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        return False


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object of limited size from `path` (or from the config.json in it).

    Raises:
        ArchitectureError: The file is too large, or holds no JSON object.
    """
    file = path / "config.json" if path.is_dir() else path
    advice = "Type a config.json of transformers or diffusers."
    return read_json_object(file, most=MAX_CONFIG_BYTES, error=ArchitectureError, advice=advice)


def refuse_unknown(overrides: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raise an error for the first override whose key is not among `known`."""
    for key in overrides:
        if key.partition(".")[0] not in known:
            raise UnknownNameError.of(f"option of {what}", key, known, "Type: --set key=value")


def refuse_pretrained(overrides: Mapping[str, Any], what: str) -> None:
    """Raise an error for options that would read weights: from here on they are ours."""
    given = sorted(_PRETRAINED.intersection(overrides))
    if given:
        raise OptionError(f"{what} is built without pretrained weights; leave out --set {given[0]}.")


_PRETRAINED = frozenset(
    "pretrained pretrained_cfg pretrained_cfg_overlay checkpoint_path cache_dir weights weights_backbone".split()
)


def built(what: str, error: BaseException, *, where: str = "") -> ArchitectureError:
    """Wrap whatever a constructor raised, in the line `where`, in one line."""
    if isinstance(error, ParamgenError):
        return ArchitectureError(f"Cannot build {what}: {error.message}. Check the values given by --set.")
    reason = f"{type(error).__name__}: {one_line(error)}".rstrip(".") + where
    if "meta tensor" in reason:
        return ArchitectureError(
            f"Cannot build {what}: its constructor reads values of tensors, which are not there yet ({reason}). "
            "Compute them with Python numbers or numpy."
        )
    look = "See that line, and" if where else "Check"
    return ArchitectureError(f"Cannot build {what}: {reason}. {look} the values given by --set.")


def spec_of_config(path: Path) -> str:
    """Return the spec of the network that a config.json describes.

    Raises:
        ArchitectureError: It is of no library whose configs can be read.
    """
    config = read_config(path)
    if "model_type" in config:
        return f"transformers:{path}"
    if "_class_name" in config:
        return f"diffusers:{path}"
    raise ArchitectureError(
        f"{path} has neither 'model_type' (transformers) nor '_class_name' (diffusers); only their configs can be read."
    )
