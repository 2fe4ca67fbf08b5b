"""What to do where nothing better than the default initialization is known: measure, or begin with trained weights."""

import json
from collections.abc import Mapping
from typing import Any

from paramgen.graphs.analysis.model_families import ModelFamily
from paramgen.initializers.inheritance.catalog import catalog
from paramgen.modelcard.markdown import shell


def next_steps(
    arch: str | None,
    family: ModelFamily,
    *,
    images: bool,
    overrides: Mapping[str, Any],
    example_input: str | None,
    tokenizer: str | None,
) -> str:
    """Return what to type, or to call for a live module, in a line; empty where nothing is known.

    Args:
        arch: As it was requested; None for a live module.
        family: The network's family.
        images: Whether it reads images.
        overrides: As requested.
        example_input: As it is typed.
        tokenizer: As requested.

    """
    if not images and family != "text_transformer":
        return ""  # what compare trains classifies images or tells the next token
    published = any(model.profile.family == family for model in catalog())
    if arch is None:
        measure, donors = "paramgen.compare(module, data)", "paramgen.donors(module)"
    else:
        words = ["--arch", arch]
        for key, value in overrides.items():
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
        words += ["--example-input", example_input] if example_input else []
        of = ["--tokenizer", tokenizer] if tokenizer else []
        measure = shell(["paramgen", "compare", *words, *of, "--data", "IMAGES" if images else "TEXT"])
        donors = shell(["paramgen", "donors", *words])
    begin = f"Trained weights to begin with: {donors}; t" if published else "T"
    return f"{begin}o measure it on your data: {measure}"
