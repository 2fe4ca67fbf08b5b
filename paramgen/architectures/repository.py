"""A repository of the Hub as an architecture, `org/model` or `org/model@revision`: its config.json, never its code."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from paramgen.architectures import Architecture, ArchitectureRequest, read_config, sources
from paramgen.architectures.untrusted import admitted
from paramgen.architectures.untrusted_sizes import refuse_sizes
from paramgen.errors import ArchitectureError, OptionError
from paramgen.registry import repository_names
from paramgen.registry.overrides import join_spec, split_spec

_ABSENT: Final = "the repository has no config.json at its top"
_ADVICE: Final = "Type: --arch org/model, or a name that `paramgen list architectures` shows"


def is_repository(name: str) -> bool:
    """Whether `name` is spelled as a repository of the Hub, and is no folder or file here."""
    return repository_names.is_repository(name.partition("@")[0]) and not Path(name).exists()


def from_repository(request: ArchitectureRequest) -> Architecture:
    """Build the network of a repository's config.json by the library it belongs to; the commit is in its spec.

    Raises:
        ArchitectureError: The repository cannot be had.
    """
    from paramgen.hub.download import commit_of, fetch_file, reason  # its libraries take a while

    spec, overrides = request.name, request.overrides
    repo, at, revision = spec.partition("@")
    if at and not revision:
        raise OptionError(f"{spec!r} has an empty revision. Type: --arch {repo}@revision")
    try:
        file = fetch_file(repo, "config.json", revision=revision or None)
    except Exception as error:  # a connection that breaks raises what its own library has for it
        raise ArchitectureError(
            f"No architecture {spec!r}: there is no such folder, and {reason(error, absent=_ABSENT)}. {_ADVICE}"
        ) from error
    source, name, given = named_by_config(spec, file)
    built = sources.get(source)().build(replace(request, name=name, overrides={**given, **overrides}))
    # What follows a tokenizer is in its spec, too.
    overrides = {key: value for key, value in split_spec(built.spec)[1].items() if key in overrides or key not in given}
    return replace(built, spec=join_spec(f"{repo}@{commit_of(file) or revision}", overrides))


def pinned(typed: str, spec: str) -> str:
    """Return what was typed, with the commit that a repository was found at."""
    name, mark, query = typed.partition("?")
    return spec.partition("?")[0] + mark + query if is_repository(name) else typed


def from_config(origin: str, file: Path) -> Architecture:
    """Build the network of a config.json, which may be anybody's, by the library it belongs to.

    Raises:
        ArchitectureError: It is of no known library, or names code, a file or a repository.
    """
    source, name, given = named_by_config(origin, file)
    return sources.get(source)().build(ArchitectureRequest(name=name, overrides=given))


def named_by_config(spec: str, file: Path) -> tuple[str, str, dict[str, Any]]:
    """Return the library of a config.json, the name that it builds, and what it sets; refuse code of the repository."""
    config = read_config(file)
    if "auto_map" in config or not isinstance(config.get("_class_name", ""), str):
        raise ArchitectureError(
            f"{spec!r} brings Python code of its own, which is never run. Where you have read it and trust it, type: "
            "--arch file.py:factory"
        )
    if "model_type" in config:
        return "transformers", str(file), {}
    if "_class_name" in config:
        return "diffusers", str(file), {}
    name, arguments = config.get("architecture"), config.get("model_args") or {}
    if "pretrained_cfg" in config and isinstance(name, str) and isinstance(arguments, dict):
        classes = {key: config[key] for key in ("num_classes",) if key in config}
        refuse_sizes(classes, origin=spec)
        arguments = admitted(arguments, (), origin=f"{spec}: model_args")
        return "timm", name, {**classes, **arguments}
    if config.get("library") == "torchvision" and isinstance(name, str):
        return "torchvision", name, admitted(config.get("arguments") or {}, (), origin=f"{spec}: arguments")
    raise ArchitectureError(
        f"The config.json of {spec!r} is of no known library: it has neither 'model_type' (transformers), nor "
        f"'_class_name' (diffusers), nor 'pretrained_cfg' (timm), nor a 'library' (torchvision). {_ADVICE}"
    )
