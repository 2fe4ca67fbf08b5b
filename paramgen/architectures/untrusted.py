"""What a stranger's configuration may choose: names of a library's own parts, never code, a file or a repository.

A configuration is data, but libraries let some of it name what they then fetch or import: kernels for attention,
quantizers, classes beside the weights, backbones from the Hub. One list says what is let through, for every library.
"""

import re
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from paramgen.architectures.transformers_internals import fetching_parts
from paramgen.architectures.untrusted_sizes import refuse_sizes
from paramgen.errors import ArchitectureError, one_line

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "attn_implementation": ("eager", "sdpa", "flex_attention"),
    "experts_implementation": ("eager", "batched_mm", "grouped_mm"),
}
"""The keys by which a configuration chooses code, and the words that choose what the library itself is made of."""

_DROPPED: Final = re.compile(
    # What says where a configuration is from, or what code once belonged to it: nothing is made of it here.
    r"auto_map|custom_pipelines?|_?name_or_path|trust_remote_code|code_revision|_commit_hash|use_kernels|kernel_config"
    r"|allow_all_kernels|use_safetensors|_attn_implementation_autoset|use_pretrained_backbone"
)
_REFUSED: Final = re.compile(
    r"quantization_config|compression_config|checkpoint_path|cache_dir|pretrained(?:_cfg(?:_overlay)?)?"
    r"|weights(?:_backbone)?"
)
_FLASH: Final = re.compile(r"(?:paged\|)?flash_attention_\d")  # how to compute, not what: the library may choose anew
_TEXTS: Final = re.compile(
    # What is read by people or split into tokens, and so may hold any letter.
    r"id2label|label2id|task_specific_params|architectures|.*(?:_sep|_token|prefix|prompt|text|template|license|url)"
    r"|[a-z_]*version|problem_type|finetuning_task"
)
_CHOOSING: Final = re.compile(
    r"implementation|backbone|architecture|kernel|adapter|quantiz|(?:^|_)(?:path|dir|file|repo)$"
)
_REACHING: Final = re.compile(r"[/\\:]|^\.|\.py$")
_MAX_WORD: Final = 200
_NOTHING: Final = object()


def admitted(config: Mapping[str, Any], known: Collection[str], *, origin: str) -> dict[str, Any]:
    """Return what of a stranger's configuration a library may see.

    What no library makes a network of is left out; what would fetch or run something is refused by name.

    Args:
        config: The JSON object.
        known: The keys that the library's class has itself; others only pass if they cannot name a file or repository.
        origin: What it is, for the message: a file, say.

    Raises:
        ArchitectureError: It names code, a file or a repository, or has sizes that no network has.

    """
    refuse_sizes(config, origin=origin)
    kept = {}
    for key, value in config.items():
        if key not in known and _is_remark(key, value):
            continue
        seen = _admitted(key, value, origin)
        if seen is not _NOTHING:
            kept[key] = seen
    return kept


def _is_remark(key: str, value: Any) -> bool:
    """Whether this only says something, such as where a part was taken from: nothing is made of such a key."""
    reaches = isinstance(value, str) and _REACHING.search(value) is not None
    return reaches and not _TEXTS.fullmatch(key) and not _CHOOSING.search(key)


def _admitted(key: str, value: Any, origin: str) -> Any:
    """Return a value as it may be seen, or nothing; its depth is limited by `refuse_sizes`."""
    if _DROPPED.fullmatch(key):
        return _NOTHING
    if _REFUSED.fullmatch(key) and value:
        raise ArchitectureError(f"{origin} has {one_line(key)!r}, which fetches or reads more. Remove that key.")
    choice = key.lstrip("_").removesuffix("_internal")
    if choice in CHOICES:
        return _chosen(key, value, CHOICES[choice], origin)
    if _TEXTS.fullmatch(key):
        return value
    if isinstance(value, Mapping):
        items = {name: _admitted(str(name), item, origin) for name, item in value.items()}
        return {name: item for name, item in items.items() if item is not _NOTHING}
    if isinstance(value, (list, tuple)):
        return [_admitted(key, item, origin) for item in value]
    if isinstance(value, str) and (len(value) > _MAX_WORD or _REACHING.search(value)):
        raise ArchitectureError(
            f"{origin}: {one_line(key)} is {one_line(value)!r}, which may name a file or a repository. Allowed are "
            "plain words. Remove that key, or give the word that the library knows."
        )
    return value


def _chosen(key: str, value: Any, words: tuple[str, ...], origin: str) -> Any:
    given = list(value.values()) if isinstance(value, Mapping) else [value]
    if any(isinstance(each, str) and _FLASH.fullmatch(each) for each in given):
        return _NOTHING
    if all(each is None or (isinstance(each, str) and each in words) for each in given):
        return value
    raise ArchitectureError(
        f"{origin}: {one_line(key)} is {one_line(value)!r}, which would be fetched and run. Allowed: "
        f"{', '.join(words)}. Remove that key, or give one of these."
    )


_guard = threading.Lock()
_closed: list[int] = []  # a thread that builds for each entry
_before: dict[str, Any] = {}


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Keep transformers from fetching kernels and backbones while a network is built or loaded.

    It does so for some types of model whatever a configuration says, where the package `kernels` is installed.
    """
    replaced = fetching_parts(_no_kernel, _NoHub)
    with _guard:
        if not _closed:
            for module, name, ours in replaced:
                _before[name] = getattr(module, name)
                setattr(module, name, ours)
        _closed.append(threading.get_ident())
    try:
        yield
    finally:
        with _guard:
            _closed.pop()
            if not _closed:
                for module, name, _ in replaced:
                    setattr(module, name, _before.pop(name))


def _no_kernel(name: object, *given: Any, **named: Any) -> NoReturn:
    raise FileNotFoundError(f"the kernel {one_line(name)!r} is not fetched: paramgen runs no code from the Hub")


class _NoHub:
    """A Hub that has nothing."""

    def repo_exists(self, *given: Any, **named: Any) -> bool:
        """Say that there is no such repository."""
        return False
