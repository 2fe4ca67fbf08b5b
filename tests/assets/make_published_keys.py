"""`python tests/assets/make_published_keys.py FILE...`: write the keys of checkpoints to `published_keys.json`."""

import json
import sys
from pathlib import Path
from typing import Any

from paramgen.published.reader import read

if __name__ == "__main__":
    keys = {}
    for name in sys.argv[1:]:
        content: Any = read(Path(name)).content
        keys[Path(name).name] = list(content.get("state_dict", content))
    text = json.dumps(keys, indent=1) + "\n"
    Path(__file__).with_name("published_keys.json").write_text(text, encoding="utf-8")
