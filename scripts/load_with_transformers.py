"""Load a folder with transformers alone, as a user without paramgen would, and say what came of it."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForImageClassification


def main(folder: str) -> int:
    """Fail if any key is missing, unexpected or mismatched; run the network once."""
    model, keys = AutoModelForImageClassification.from_pretrained(folder, output_loading_info=True)
    faults = {kind: sorted(names) for kind, names in keys.items() if names}
    if faults:
        print(f"transformers read {folder}, but: {faults}", file=sys.stderr)
        return 1
    size = model.config.image_size
    with torch.no_grad():
        logits = model(torch.zeros(1, model.config.num_channels, size, size)).logits
    shape = tuple(logits.shape)
    print(f"{Path(folder).resolve()}: transformers loaded it as {type(model).__name__}; no missing, no unexpected key.")
    print(f"Its logits for one image have the shape {shape}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
