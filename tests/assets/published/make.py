"""Make the assets beside this file from a folder of what the reference implementations compute.

Type: python tests/assets/published/make.py FOLDER

FOLDER holds REPORT.md, whose table has the sizes of every torchvision classifier's graph, and ghn3/*.json.gz and
logah/*.json.gz, of which the graph, the matched parameters, their norms and some sampled values are kept.
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SAMPLES = 6


def compact(reference: dict[str, Any]) -> dict[str, Any]:
    graph = reference["graph"]
    listed = {entry[0]: entry for cell in graph["node_info"] for entry in cell}
    return {
        "primitives": graph["prim"],
        "words": graph["prim_names"],
        "names": graph["node_param_name"],
        "shapes": graph["node_shape"],
        "edges": graph["edges_1hop"],
        "distances": graph["adj_zlib_b64_uint8_rowmajor"],
        "parameters": reference["node_to_param"],
        "class_weight": [node for node, entry in listed.items() if entry[4]],
        "class_bias": [node for node, entry in listed.items() if entry[5]],
        "slots": {name: slot(entry) for name, entry in reference["params"].items()},
    }


def slot(entry: dict[str, Any]) -> dict[str, Any]:
    if not entry["predicted"]:
        return {"shape": entry["shape"]}
    first = entry["shape"][-1] if len(entry["shape"]) == 3 else 0  # a position table's first row is random
    kept = [pair for pair in zip(entry["pos"], entry["at"], strict=True) if pair[0] >= first][-SAMPLES:]
    return {"shape": entry["shape"], "l2": entry["l2"], "at": [at for at, _ in kept], "values": [v for _, v in kept]}


def write(name: str, data: Any) -> None:
    text = json.dumps(data, separators=(",", ":"))
    (HERE / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def main() -> None:
    folder = Path(sys.argv[1])
    for file in sorted((*folder.glob("ghn3/*.json.gz"), *folder.glob("logah/*.json.gz"))):
        write(file.name.removesuffix(".json.gz"), compact(json.loads(gzip.decompress(file.read_bytes()))))
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \|", (folder / "REPORT.md").read_text(), re.MULTILINE)
    write("torchvision", {name: [int(size) for size in sizes] for name, *sizes in rows})


if __name__ == "__main__":
    main()
