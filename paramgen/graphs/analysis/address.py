"""The address of a weight that networks share, as a value and as the text that names it in a supernet's files.

The idea of one set of weights for networks of many widths and depths is Once-for-All's (Cai et al., 2020,
arXiv:1908.09791); here the address is read off the graph, by `addressed_slots.py`, so that any network has it.
"""

import re
from dataclasses import dataclass
from typing import Final, final

from paramgen.errors import GraphError

TOKEN_TABLE: Final = "words"
"""The function of the table that looks up tokens; every network that is a language model has one."""
POSITION_TABLE: Final = "positions"
HEAD: Final = "head"
_NUMBER: Final = "(?:0|[1-9][0-9]*)"
_STEM: Final = re.compile(r"stem([0-9]+)by([0-9]+)")
_ADDRESS: Final = re.compile(
    r"(?P<function>[a-z0-9_]+(?:>[a-z0-9_]+>[a-z0-9_]+)?)"
    rf"(?:@(?P<scale>{_NUMBER}|[a-z]+))?"
    r"(?::(?P<projection>[a-z]+))?"
    rf"/(?P<depth_index>{_NUMBER}):(?P<part>[a-z_]+)"
)


@final
@dataclass(frozen=True, slots=True)
class Address:
    """Where a shared weight belongs: what it does, at which scale, how deep, and which part of its layer it is.

    `str(Address("stream>conv3>conv", 2))` is `stream>conv3>conv@2/0:weight`; `Address.parse` is the inverse.
    """

    function: str  # `from>operation>to`, or `stem7by2` (kernel, stride), `head10` (classes), `words`, ...
    scale: int | str | None = None  # how often the image's side was halved; of tokens, how positions are encoded
    projection: str | None = None  # query, key or value, of a weight in front of an attention
    depth_index: int = 0  # how many weights of the same function, scale and projection come before it
    part: str = "weight"  # weight, bias, pre_/post_ scale and bias of a norm, layer_scale, position, class_token

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Return the address that `str` writes as `text`.

        Raises:
            GraphError: `text` is no address.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None:
            raise GraphError(
                f"{text!r:.80} is no address of a shared weight. Allowed are addresses such as "
                "stream>conv3>conv@2/0:weight"
            )
        scale = match["scale"]
        return cls(
            function=match["function"],
            scale=int(scale) if scale is not None and scale.isdigit() else scale,
            projection=match["projection"],
            depth_index=int(match["depth_index"]),
            part=match["part"],
        )

    def __str__(self) -> str:
        scale = "" if self.scale is None else f"@{self.scale}"
        projection = "" if self.projection is None else f":{self.projection}"
        return f"{self.function}{scale}{projection}/{self.depth_index}:{self.part}"

    @property
    def operation(self) -> str | None:
        """What the weight is, such as `conv3` or `dw7s` (`s`: with a stride); None at the ends of a network."""
        steps = self.function.split(">")
        return steps[1] if len(steps) == 3 else None

    @property
    def stem(self) -> tuple[int, int] | None:
        """Kernel size and stride of the layer that reads the image; None of other weights."""
        match = _STEM.fullmatch(self.function)
        return None if match is None else (int(match[1]), int(match[2]))

    @property
    def head(self) -> bool:
        """Whether the weight makes the output of the network: classes, or tokens."""
        return self.function.startswith(HEAD)

    @property
    def among_tokens(self) -> bool:
        """Whether the weight works on tokens; else on an image, or on what has no scale."""
        return isinstance(self.scale, str)
