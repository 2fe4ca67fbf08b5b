"""The results of `benchmarks.diffusion.denoised` and `benchmarks.diffusion.memorization` as tables of Markdown."""

from collections.abc import Mapping
from typing import Any

from benchmarks.diffusion.memorization import LABELS

Result = Mapping[str, Any]


def initializations_table(result: Result) -> str:
    """Return a row for every initialization: its metrics at both ends, and when it is as good as random weights end."""
    steps, edits = result["steps"], len(result["tasks"])
    lines = [
        f"| initialization | L1 at once | L1 after {steps} steps | as good as random weights then: edits "
        "| median steps | SSIM at once | SSIM: edits | median steps |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, own in result["summary"].items():
        l1, ssim = own["l1"], own["ssim"]
        lines.append(
            f"| {name} | {l1['at_0']:.3f} | {l1['at_end']:.3f} | {l1['reached']} of {edits} | {_steps(l1, steps)} "
            f"| {ssim['at_0']:.3f} | {ssim['reached']} of {edits} | {_steps(ssim, steps)} |"
        )
    return "\n".join(lines)


def memorization_table(result: Result) -> str:
    """Return a row for every kind of distance."""
    lines = ["| distance between | median | smallest |", "|---|--:|--:|"]
    for kind, label in LABELS.items():
        lines.append(f"| {label} | {result['median'][kind]:.3f} | {result['smallest'][kind]:.3f} |")
    return "\n".join(lines)


def denoising_table(result: Result) -> str:
    """Return a row for the options of denoising, a column for each prediction type."""
    kinds = result["pipelines"]
    lines = [f"| steps, guidance | {' | '.join(kinds)} |", "|---|" + "--:|" * len(kinds)]
    for rows in zip(*kinds.values(), strict=True):
        cells = [f"{row['mean']:.3f}, {row['median']:.3f}" for row in rows]
        lines.append(f"| {_words(rows[0]['options'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _words(options: Mapping[str, Any] | str) -> str:
    if isinstance(options, str):
        return options
    words = f"{options['num_inference_steps']}, {options.get('guidance_scale', 1):g}"
    extra = (("optimized_scale", "optimized scale"), ("zero_init_steps", "zero-init"))
    return words + "".join(f", {text}" for option, text in extra if option in options)


def _steps(own: Mapping[str, Any], steps: int) -> str:
    return f"{own['median_steps']:g}" if own["median_steps"] <= steps else f"more than {steps}"
