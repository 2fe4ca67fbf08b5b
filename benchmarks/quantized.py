"""What few bits cost a language model that nothing has trained: `python -m benchmarks.quantized`.

GPT-2s of four sizes with the weights that the shipped hypernet for texts gives them, rounded as `--quantize` does, and
their perplexity per byte on the Python files of Python's own standard library, sorted by path and joined by newlines:
of windows of 64 bytes at even distances. Nothing is trained. By equal total bits they are compared as by Dettmers and
Zettlemoyer (2023, arXiv:2212.09720): between two sizes, log perplexity is taken to be linear in the log of the bits.
The result is `cards/results/quantized.json`; `--render` prints its tables.
"""

import argparse
import json
import sysconfig
from collections.abc import Mapping
from hashlib import sha256
from math import exp, log
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

import paramgen
from benchmarks.provenance import provenance
from paramgen.storage.folder import write_text
from paramgen.storage.quantization import WHOLE_TENSOR, Quantization

RESULTS: Final = Path(__file__).parents[1] / "cards" / "results" / "quantized.json"
WINDOW: Final = 64
WINDOWS: Final = 300
SIZES: Final[Mapping[str, str]] = {
    "48 x 3": "n_embd=48&n_layer=3&n_head=3",
    "80 x 4": "n_embd=80&n_layer=4&n_head=5",
    "112 x 5": "n_embd=112&n_layer=5&n_head=4",
    "160 x 6": "n_embd=160&n_layer=6&n_head=5",
}
"""Channels and blocks: the hypernet fills all of each."""

ARCH: Final = "transformers:GPT2LMHeadModel?n_positions=64&vocab_size=256&"
INIT: Final = "hypernet:text"
KINDS: Final = ("int3", "nf3", "int4", "nf4", "fp4", "int5", "nf5", "int8")
BLOCKS: Final = (64, WHOLE_TENSOR)
HALF: Final = "float16"
BEST_KINDS: Final[Mapping[int, str]] = {3: "nf3", 4: "nf4", 5: "nf5", 8: "int8", 16: HALF}
"""What stands for a number of bits where they are compared."""


def windows() -> tuple[Tensor, dict[str, Any]]:
    """Return windows of the standard library's text, and what identifies it."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    text = b"\n".join(path.read_bytes() for path in files)
    starts = [index * (len(text) - WINDOW) // (WINDOWS - 1) for index in range(WINDOWS)]
    rows = torch.tensor([list(text[start : start + WINDOW]) for start in starts])
    return rows, {"files": len(files), "bytes": len(text), "sha256": sha256(text).hexdigest()}


@torch.no_grad()
def perplexity(model: torch.nn.Module, rows: Tensor) -> float:
    """Return it per byte."""
    return exp(float(model(input_ids=rows, labels=rows).loss))


def stored_bits(parameters: Mapping[str, Tensor], kind: str, block: int | str) -> int:
    """Return how many bits all parameters take: those of less than two axes stay in half precision."""
    total = 0
    for tensor in parameters.values():
        if kind == HALF or tensor.dim() < 2:
            total += 16 * tensor.numel()
            continue
        codes, scales = Quantization.of(f"{kind}?block={block}").sizes(tensor.numel())
        total += 8 * codes + 32 * scales
    return total


def measured(size: str, rows: Tensor) -> list[dict[str, Any]]:
    """Return the perplexity of one size by kind and block."""
    arch = f"{ARCH}{SIZES[size]}"
    model = paramgen.create(arch, init=INIT, progress=False).eval()
    parameters = {name: tensor.detach().clone() for name, tensor in model.named_parameters()}
    ways = [("float32", WHOLE_TENSOR), (HALF, WHOLE_TENSOR), *((kind, block) for kind in KINDS for block in BLOCKS)]
    found = []
    for kind, block in ways:
        for name, parameter in model.named_parameters():
            parameter.data = _rounded(parameters[name], kind, block)
        row: dict[str, Any] = {"size": size, "arch": arch, "kind": kind, "block": block}
        row["parameters"] = sum(tensor.numel() for tensor in parameters.values())
        row["bits"] = 32 * row["parameters"] if kind == "float32" else stored_bits(parameters, kind, block)
        row["perplexity"] = round(perplexity(model, rows), 4)
        found.append(row)
        print(row["size"], kind, block, row["perplexity"], flush=True)
    return found


def _rounded(tensor: Tensor, kind: str, block: int | str) -> Tensor:
    if kind == HALF:
        return tensor.half().float()
    rounded = kind != "float32" and tensor.dim() >= 2
    return Quantization.of(f"{kind}?block={block}").rounded(tensor) if rounded else tensor.clone()


def at_equal_bits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the perplexity by number of bits at the total bits that each size takes at four bits."""
    curves = {
        bits: sorted((row["bits"], row["perplexity"]) for row in rows if _stands_for(row, bits)) for bits in BEST_KINDS
    }
    found = []
    for total, _ in curves[4]:
        at = {str(bits): _between(curve, total) for bits, curve in curves.items()}
        known = {bits: value for bits, value in at.items() if value is not None}
        found.append({"total_bits": total, "perplexity": known, "best": int(min(known, key=lambda bits: known[bits]))})
    return found


def _stands_for(row: Mapping[str, Any], bits: int) -> bool:
    return row["kind"] == BEST_KINDS[bits] and row["block"] == (WHOLE_TENSOR if bits == 16 else 64)


def _between(curve: list[tuple[int, float]], total: int) -> float | None:
    """Return the perplexity on a curve of sizes; None beyond its ends."""
    for (few, worse), (many, better) in zip(curve, curve[1:], strict=False):
        if few <= total <= many:
            share = (log(total) - log(few)) / (log(many) - log(few))
            return round(exp(log(worse) + share * (log(better) - log(worse))), 4)
    return None


def tables(results: Mapping[str, Any]) -> str:
    """Return the two tables that the site quotes."""
    sizes = list(SIZES)
    by_way = {(row["kind"], row["block"], row["size"]): row["perplexity"] for row in results["rows"]}
    lines = [f"| rounded to | block | {' | '.join(sizes)} |", f"|---|---|{'--:|' * len(sizes)}"]
    for kind, block in dict.fromkeys((kind, block) for kind, block, _ in by_way):
        shown = "-" if kind in ("float32", HALF) else "64" if block == 64 else "tensor"
        lines.append(f"| {kind} | {shown} | {' | '.join(f'{by_way[kind, block, size]:.2f}' for size in sizes)} |")
    lines += ["", f"| total bits | {' | '.join(f'{bits} bits' for bits in BEST_KINDS)} | best |"]
    lines.append(f"|--:|{'--:|' * len(BEST_KINDS)}--:|")
    for row in results["at_equal_bits"]:
        cells = (f"{row['perplexity'][str(bits)]:.2f}" if str(bits) in row["perplexity"] else "" for bits in BEST_KINDS)
        lines.append(f"| {row['total_bits']:,} | {' | '.join(cells)} | {row['best']} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all sizes and write the result, or print the tables of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--render", action="store_true")
    options = parser.parse_args()
    if not options.render:
        where = provenance()  # before the files that are written
        rows, text = windows()
        measurements = [row for size in SIZES for row in measured(size, rows)]
        results = {"provenance": where, "init": INIT, "text": text, "window": WINDOW, "windows": WINDOWS}
        results |= {"rows": measurements, "at_equal_bits": at_equal_bits(measurements)}
        write_text(options.out, json.dumps(results, indent=1) + "\n")
    print(tables(json.loads(options.out.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
