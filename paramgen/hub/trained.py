"""A trained model that an initializer reads: a safetensors file, a folder of some, or a repository of the Hub."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, final

from paramgen.errors import CheckError, OptionError
from paramgen.hub.download import Missing, cached_folder, commit_of, fetch_folder, files_of, missing_of, reason
from paramgen.modelcard.card_data import known_of
from paramgen.registry.repository_names import is_repository
from paramgen.storage.digest import files_sha256
from paramgen.storage.reading import Stored, stored, weight_files

_WANTED: Final = ("*.safetensors", "*.safetensors.index.json", "README.md")
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_EARLIER: Final = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
"""What the files of BERT's first years call a slot."""


@final
@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained model: where it is from and what it holds; nothing is read before it is needed."""

    path: str  # a folder, a safetensors file, or a Hub repository, `@revision` after it
    init: str  # the initializer that needs it
    what: str  # what it is to that initializer: a larger model, say
    advice: str
    files: tuple[str, ...] = ()  # patterns of what else is wanted of a repository
    needed: tuple[str, ...] = ()  # files beside the weights without which nothing can be done

    @cached_property
    def folder(self) -> Path:
        """The folder itself, that of the file, or the one that the repository's files were fetched into.

        Raises:
            OptionError: There is no such model, or it cannot be had.
        """
        if self._file is not None:
            return self._file.parent
        name, at, revision = self.path.partition("@")
        if not name:
            raise OptionError(f"{self.init} needs a {self.what}. {self.advice}")
        if Path(name).is_dir():
            return Path(name)
        if not is_repository(name):
            raise OptionError(f"There is no folder or file {name!r}. {self.advice}")
        if at and not revision:
            raise OptionError(f"{self.path!r} has an empty revision. Type: --init {self.init}:org/model@revision")
        try:
            folder = fetch_folder(name, self._patterns, revision=revision or None)
        except Exception as error:  # a connection that breaks raises what its own library has for it
            raise OptionError(
                f"No {self.what} {self.path!r}: there is no such folder, and {reason(error)}. {self.advice}"
            ) from error
        if not any(folder.glob("*.safetensors")):
            self._refuse_pickles(name, revision or None)
        return folder

    @cached_property
    def _file(self) -> Path | None:
        """The file, where the path is one."""
        file = Path(self.path)
        if not file.is_file():
            return None
        if file.suffix != ".safetensors":
            raise OptionError(
                f"{self.path!r} is no safetensors file. Allowed: a .safetensors file, a folder with some, or a "
                f"repository. {self.advice}"
            )
        if "config.json" in self.needed and not (file.parent / "config.json").is_file():
            raise OptionError(
                f"{self.init} needs the config.json of the {self.what}, and there is none beside {self.path!r}. Put it "
                f"there. {self.advice}"
            )
        return file

    def missing(self, *, revision: str | None = None) -> Missing:
        """Return how much of a repository would be downloaded, which the Hub is asked."""
        return missing_of(self.path, self._patterns, revision=revision)

    @property
    def in_cache(self) -> bool:
        """Whether the whole of a repository was downloaded before."""
        folder = cached_folder(self.path, self._patterns)
        if folder is None or not all(any(folder.glob(pattern)) for pattern in (*self.needed, *self.files)):
            return False
        try:
            return bool(stored(folder))
        except CheckError:  # a shard is missing
            return False

    @property
    def _patterns(self) -> list[str]:
        return [*_WANTED, *self.needed, *self.files]

    @property
    def _weights(self) -> list[Path]:
        return weight_files(self.folder) if self._file is None else [self._file]

    @cached_property
    def tensors(self) -> Mapping[str, Stored]:
        """What is stored, by name; at least one tensor.

        Raises:
            OptionError: There are none, or a file cannot be read.
        """
        try:
            found = {entry.name: entry for entry in stored(self._file or self.folder)}
        except CheckError as error:
            raise OptionError(f"{self.path!r} is no {self.what}: {error.message}") from error
        if not found:
            raise OptionError(f"{self.path!r} holds no tensor. {self.advice}")
        return found

    @cached_property
    def digest(self) -> str:
        """The sha256 of all its weights."""
        assert self.tensors
        return files_sha256(self._weights)

    def find(self, name: str) -> Stored | None:
        """Return the tensor of a slot: under its name, or as a model without, or with, the head's prefix calls it."""
        for candidate in (name, *(name.removesuffix(now) + then for now, then in _EARLIER.items() if now in name)):
            outer, dot, inner = candidate.partition(".")
            names = [candidate]
            if dot and outer not in self._prefixes:
                names += [inner, *(f"{prefix}.{candidate}" for prefix in self._prefixes)]
            found = next((self.tensors[each] for each in names if each in self.tensors), None)
            if found is not None:
                return found
        return None

    def names_for(self, slots: Iterable[str]) -> list[str]:
        """Return what `find` knows a tensor by: its name, and that with the prefix of slots that have one more."""
        ours = {slot.partition(".")[0] for slot in slots} - self._prefixes
        return [*self.tensors, *(f"{prefix}.{name}" for prefix in sorted(ours) for name in self.tensors)]

    @property
    def commit(self) -> str | None:
        """Its commit on the Hub; None of a folder of one's own."""
        return commit_of(self.folder)

    def describe(self) -> dict[str, str]:
        """Return where it is from, the commit if that is the Hub, and the sha256 of its weights."""
        commit = self.commit
        key = self.what.replace(" ", "_")
        return {key: self.path, "sha256": self.digest} | ({"revision": commit} if commit else {})

    def provenance(self) -> dict[str, Any]:
        """Return its name and what its card says of it."""
        name = self.path.partition("@")[0]
        repo = {} if Path(name).is_dir() or self._file is not None else {"repo": name}
        return {"from": self.path, **repo, **known_of(self.folder)}

    @cached_property
    def _prefixes(self) -> frozenset[str]:
        return frozenset(name.partition(".")[0] for name in self.tensors)

    def _refuse_pickles(self, repo: str, revision: str | None) -> None:
        """Refuse a repository whose weights are pickles, if it is one, and say how to convert them."""
        pickles = [file for file in files_of(repo, revision=revision) if file.endswith(_PICKLES)]
        if pickles:
            here = self.what.partition(" ")[0]
            raise OptionError(
                f"{self.path!r} holds no safetensors but {pickles[0]}, a pickle, which is not read. Where you trust "
                f"it, type: python -c \"import transformers as t; t.AutoModel.from_pretrained('{repo}')."
                f"save_pretrained('{here}')\", and then: --init {self.init}:{here}"
            )
