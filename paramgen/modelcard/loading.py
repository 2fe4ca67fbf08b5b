"""The lines of Python that load a folder, as its library reads it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def loading_lines(
    source: str,
    config: Mapping[str, Any],
    where: str,
    *,
    on_hub: bool = False,
    module: str = "",
    revision: str | None = None,
) -> tuple[str, ...]:
    """Return an import and a line that makes `model`.

    Args:
        source: The library.
        config: The folder's config.json, which may be anybody's.
        where: The folder, or a repository if `on_hub`.
        on_hub: Whether the weights are fetched from there.
        module: The expression of the network that is filled, where paramgen cannot build it.
        revision: The branch of a repository, where it is not the main one.

    """
    pinned = "" if revision is None else f", revision={revision!r}"
    names = config.get("architectures")
    name = config.get("_class_name") or (names[0] if isinstance(names, list) and names else "")
    if source in ("transformers", "diffusers") and isinstance(name, str) and name.isidentifier():
        return f"from {source} import {name}", f"model = {name}.from_pretrained({where!r}{pinned})"
    if source == "timm":
        place = f"{'hf-hub' if on_hub else 'local-dir'}:{where}" + (f"@{revision}" if revision else "")
        return "import timm", f"model = timm.create_model({place!r}, pretrained=True)"
    given = f", {module}" if module else ""
    if on_hub:
        lines = ("import paramgen", "from huggingface_hub import snapshot_download")
        return *lines, f"model = paramgen.load(snapshot_download({where!r}{pinned}){given})"
    return "import paramgen", f"model = paramgen.load({where!r}{given})"


def building_lines(config: Mapping[str, Any]) -> tuple[str, str]:
    """Return the import of an own module's factory and the call that builds it; empty where they are not known."""
    path, _, factory = str(config.get("architecture", "")).rpartition(":")
    file, arguments = Path(path), config.get("arguments", {})
    parts = file.with_suffix("").parts if path.endswith(".py") else tuple(path.split("."))
    if file.is_absolute():
        parts = parts[-1:]
    package = parts[:-1] if parts[-1:] == ("__init__",) else parts
    words = [*package, factory, *arguments] if isinstance(arguments, dict) and package else [""]
    if not all(str(word).isidentifier() for word in words):
        return "", ""
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"from {'.'.join(package)} import {factory}", f"{factory}({given})"
