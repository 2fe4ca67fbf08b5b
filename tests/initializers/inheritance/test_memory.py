"""A large donor into a smaller network: neither is ever in memory."""

import json
from math import prod
from pathlib import Path
from typing import Any, Final

import pytest

from paramgen.architectures import resolve
from paramgen.prediction import prepare

LARGE: Final[dict[str, Any]] = {
    "vocab_size": 16_000,
    "hidden_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 5632,
}
SMALL: Final[dict[str, Any]] = {
    **LARGE,
    "hidden_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 2816,
}
STATUS, FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def zeros(folder: Path, overrides: dict[str, Any]) -> int:
    """Write a Llama of zeros in bfloat16, which take no room on the disk, and return its bytes."""
    architecture, header, end = resolve("transformers:llama", overrides), {}, 0
    for slot in architecture.manifest.filled:
        begin, end = end, end + 2 * prod(slot.shape)
        header[slot.name] = {"dtype": "BF16", "shape": list(slot.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(dict(architecture.layout.config)))
    return end


def resident(key: str) -> int:
    """Return a figure of this process's memory, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def test_a_donor_of_a_gigabyte_takes_a_few_tensors_of_memory(tmp_path: Path) -> None:
    try:
        FORGET.write_text("5")  # the peak is counted from now on
    except OSError:
        pytest.skip("only Linux forgets a peak")
    size = zeros(tmp_path / "donor", LARGE)
    prediction = prepare("transformers:llama", init=f"inherit:{tmp_path / 'donor'}", overrides=SMALL)
    assert set(prediction.by_rule) == {"inherit:select", "inherit:select+pool"}
    FORGET.write_text("5")
    before, elements = resident("VmRSS"), 0
    for _, tensor in prediction:
        elements += tensor.numel()
        del tensor
    assert elements == prediction.architecture.manifest.elements > 100_000_000
    largest = 16_000 * 2048 * 4  # the table of tokens, in float32
    assert size > 10 * largest and resident("VmHWM") - before < 2.5 * largest
