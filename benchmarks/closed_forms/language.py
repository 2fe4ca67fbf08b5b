"""What small GPT-2s learn of bytes, the source code of Python's standard library: rescaled matrices, rates by width."""

import argparse
import ast
import datetime
import inspect
import subprocess
import tarfile
import tempfile
import typing
from functools import cache
from math import exp, log2
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

import paramgen
from benchmarks.closed_forms.networks import SEEDS, spread
from paramgen.initializers.linear_maps import std_of
from paramgen.output.rescaling import matrices

TRAINED_ON: Final = (argparse, ast, datetime, inspect, subprocess, typing)
TESTED_ON: Final = tarfile
LENGTH: Final = 64
BATCH: Final = 8
TESTED: Final = 64
"""Windows of the text that nothing is trained on."""

STEPS, EVERY, RATE = 150, 50, 3e-3
SIZES: Final[dict[str, Any]] = {"n_layer": 4, "n_embd": 144, "n_head": 4, "n_positions": LENGTH, "vocab_size": 256}
WIDTHS: Final = (64, 128, 256)
RATES: Final = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)
MUP_STEPS: Final = 100


def rescaling() -> dict[str, Any]:
    """Return perplexity and largest activation with and without target variance rescaling."""
    found: dict[str, Any] = {"steps": STEPS, "every": EVERY, "learning_rate": RATE, "windows": BATCH, **SIZES}
    for name, every in (("rescaled", EVERY), ("not rescaled", 0)):
        runs = [_trained(seed, every) for seed in SEEDS]
        found[name] = {key: spread([run[key] for run in runs]) for key in ("perplexity", "largest_activation")}
        if every:
            found[name]["largest_error_of_a_std"] = max(run["error"] for run in runs)
            found["parameters"] = int(runs[0]["parameters"])
    return found


def learning_rates() -> dict[str, Any]:
    """Return the best learning rate of a grid by width, of one seed, by muP and with one for all weights."""
    found: dict[str, Any] = {"steps": MUP_STEPS, "seeds": 1, "grid": list(RATES), "widths": list(WIDTHS)}
    grid = ",".join(f"{rate:g}" for rate in RATES)
    with tempfile.TemporaryDirectory() as folder, torch.enable_grad():
        text = Path(folder) / "code.txt"
        text.write_bytes(b"\n".join(Path(str(module.__file__)).read_bytes() for module in TRAINED_ON))
        for init, lr in (("mup?base=64", f"mup:{grid}?base=64"), ("scaled", grid)):
            best = {width: _best(width, init, lr, str(text)) for width in WIDTHS}
            rates = [each["learning_rate"] for each in best.values()]
            found[init] = {f"width {width}": each for width, each in best.items()}
            found[init]["best_moves_by"] = 2 ** round(log2(max(rates) / min(rates)), 3)
    return found


def _best(width: int, init: str, lr: str, text: str) -> dict[str, Any]:
    sizes = {"n_layer": 2, "n_embd": width, "n_head": 4, "n_positions": LENGTH, "vocab_size": 256}
    (one,) = paramgen.compare(
        "gpt2",
        text,
        init=init,
        overrides=sizes,
        steps=MUP_STEPS,
        seeds=1,
        lr=lr,
        widen=1,
        batch=BATCH,
        evaluations=1,
        length=LENGTH,
        test_examples=TESTED,
    ).to_json()["architectures"]
    result = one["initializations"][0]
    losses = {rate: None if each is None else round(each["mean"], 4) for rate, each in result["by_lr"].items()}
    return {"learning_rate": result["lr"], "at_edge": result["lr_at_edge"], "validation": losses}


def _trained(seed: int, every: int) -> dict[str, float]:
    """Return what a network reaches; with `every`, matrices get their initial std back after so many steps."""
    from transformers import GPT2Config, GPT2LMHeadModel

    weights = paramgen.predict("gpt2", init="scaled", seed=seed, overrides=SIZES).state_dict()
    module = GPT2LMHeadModel(GPT2Config(**SIZES, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    module.load_state_dict(weights, strict=False)
    module.tie_weights()
    stds = {name: std_of(each) for name, each in matrices(module).items()}
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, fused=True)
    order, error = torch.Generator().manual_seed(seed), 0.0
    for step in range(STEPS):
        with torch.enable_grad():
            loss = _loss(module, _windows("train", order))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        if every and (step + 1) % every == 0:
            paramgen.rescale_(module, stds)
            error = max(abs(std_of(each) / stds[name] - 1) for name, each in matrices(module).items())
    parameters = sum(each.numel() for each in module.parameters())
    return {"error": error, "parameters": parameters, **_tested(module)}


def _tested(module: nn.Module) -> dict[str, float]:
    """Return perplexity of bytes, and the largest magnitude of what any part of a block returns."""
    largest: list[float] = []
    parts = [part for name, part in module.named_modules() if ".h." in name and not list(part.children())]
    hooks = [part.register_forward_hook(lambda _m, _i, out: largest.append(float(out.abs().max()))) for part in parts]
    loss = _loss(module, _windows("test", torch.Generator().manual_seed(0)))
    for hook in hooks:
        hook.remove()
    return {"perplexity": exp(float(loss)), "largest_activation": max(largest)}


def _loss(module: nn.Module, windows: Tensor) -> Tensor:
    logits = module(windows[:, :-1]).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def _windows(part: str, order: torch.Generator) -> Tensor:
    text = _bytes(part)
    starts = torch.randint(len(text) - LENGTH, (BATCH if part == "train" else TESTED,), generator=order)
    return torch.stack([text[start : start + LENGTH + 1] for start in starts.tolist()])


@cache
def _bytes(part: str) -> Tensor:
    modules = TRAINED_ON if part == "train" else (TESTED_ON,)
    raw = b"\n".join(Path(str(module.__file__)).read_bytes() for module in modules)
    return torch.tensor(list(raw))
