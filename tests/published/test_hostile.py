import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.published import refusing

ROOT = Path(__file__).parents[2]
CALLS, BYTES = 3_000_000, 60_000_000
NAMES = list(refusing.files(Path("sentinel")))
REASONS = {
    "reduce": "it would call os.system.",
    "stack_global": "it would call posix.system.",
    "nested_load": "it would call torch.load.",
    "nested_blob": "it would call os.system.",
    "nested_archive": "it would call os.system.",
    "set_state": "it would call os.system.",
    "inst": "the instruction INST",
    "obj": "it would call os.system.",
    "protocol_9": "protocol 9",
    "numpy": "numpy.core.multiarray._reconstruct",
    "extension_4": "EXT4",
    "trillion_elements": "1,000,000,000,000 elements",
    "trillion_stored": "4,000,000,000,000 bytes",
    "bomb": "compressed or encrypted",
    "many_parts": "60,000 parts",
    "memo": "150,000 instructions",
    "huge_number": "a whole number of 1,048,576 bytes",
    "nested_tuples": "nested more than 32 deep",
    "offset_outside": "ends at 5 in a storage of 4",
    "negative_stride": "whole numbers from 0 on",
    "storage_of_two_kinds": "of two kinds",
    "complex": "torch.ComplexFloatStorage",
    "compressed": "neither a torch.save file nor a plain pickle",
    "dumped_cut_at_2": "cut short",
    "saved_cut_at_4": "cut short",
    "stream_cut_at_3": "cut short",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-W", "error", "-m", "tests.support.published.refusing", str(folder)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(finished.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_refused_and_nothing_happens(name: str, results: dict[str, dict[str, object]]) -> None:
    result = results[name]
    message = str(result["message"])
    assert message.startswith("ForeignError: ")
    assert message.isprintable()
    assert len(message) < 400
    assert REASONS.get(name, "") in message
    assert result["ran"] == []
    assert result["written"] == []
    assert int(str(result["calls"])) < CALLS
    assert int(str(result["bytes"])) < BYTES


def test_every_reason_is_of_a_file() -> None:
    assert set(NAMES) >= set(REASONS)
