"""Other names for what an option takes: dtypes as torch and configs spell them, initializers as torch and Keras do.

Records hold the name on the left of the dtypes' table and on the right of the initializers'.
"""

from typing import Any, Final

from paramgen.errors import OptionError
from paramgen.registry.chains import join_chain, split_chain

DTYPE_SYNONYMS: Final = {
    "float32": ("float", "fp32", "f32", "single"),
    "bfloat16": ("bf16",),
    "float16": ("half", "fp16", "f16"),
}

INITIALIZER_SYNONYMS: Final = {
    "default": "library",
    "glorot": "xavier",
    "glorot_normal": "xavier?distribution=normal",
    "glorot_uniform": "xavier",
    "he_normal": "he",
    "he_uniform": "he?distribution=uniform",
    "kaiming": "he",
    "kaiming_normal": "he",
    "kaiming_uniform": "he?distribution=uniform",
    "xavier_normal": "xavier?distribution=normal",
    "xavier_uniform": "xavier",
}

CONTROLS: Final = ("matched", "rezero", "shuffled")
"""Initializers whose argument is another one."""

_DTYPES: Final = {synonym: name for name, synonyms in DTYPE_SYNONYMS.items() for synonym in (name, *synonyms)}


def known_dtype(given: Any) -> Any:
    """Return the name of a dtype: `bf16`, `torch.bfloat16` and "torch.bfloat16" are `bfloat16`; others as they are."""
    name = str(given).strip().removeprefix("torch.")
    return _DTYPES.get(name.lower(), name if str(given).startswith("torch.") else given)


def checked_dtype(given: Any) -> str:
    """Return the name of a dtype that weights are written in.

    Raises:
        OptionError: It is no such dtype.
    """
    name = known_dtype(given)
    if name not in DTYPE_SYNONYMS:
        raise OptionError(f"Unknown dtype {name!r}. Known: {', '.join(DTYPE_SYNONYMS)}. Type: --dtype float32")
    return str(name)


def known_init(given: str) -> str:
    """Return an initializer under its own name: `kaiming?mode=fan_out|scale:2` is `he?mode=fan_out|scale:2`."""
    first, then = split_chain(given)
    if then:
        return join_chain(known_init(first), then)
    head, colon, other = given.partition(":")
    if colon and head in CONTROLS:
        return f"{head}:{known_init(other)}"
    name, question, options = given.partition("?")
    own = INITIALIZER_SYNONYMS.get(name.lower().replace("-", "_").rstrip("_"))  # torch's end in an underscore
    if own is None:
        return given
    return f"{own}{'&' if '?' in own else '?'}{options}" if question else own
