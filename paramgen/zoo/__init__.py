"""A zoo: many trained checkpoints of one small architecture, each with the prompts of the task it was trained on.

```
ZOO/zoo.json                 what all checkpoints share: architecture, form, targets of the low-rank updates
ZOO/base.safetensors         the base checkpoint, by the library's own names, and shared factors if there are any
ZOO/index.parquet            a row for each checkpoint: task, prompts, split, seed, steps, licence, hashes
ZOO/shards/00000.safetensors their tensors, named "<id>/<name>"
```
"""

from paramgen.zoo.layout import ZooLayout as ZooLayout
from paramgen.zoo.low_rank import restore as restore
from paramgen.zoo.reading import Skipped as Skipped
from paramgen.zoo.reading import Zoo as Zoo
from paramgen.zoo.table import Row as Row
