"""Which initialization trains best, on networks that no training has seen.

    python -m benchmarks.initialization.vision --data NAME=PATH

Every network is trained from every initialization by `paramgen.comparison`: each at its own best learning rate of one
grid, chosen on seed 0. The runs of one initialization of one network on one data set lie in a folder of their own under
`--out`, named after all they depend on: another call goes on where the last one ended, and another hypernet leaves the
runs of the simple initializations as they are. Where an initializer does nothing but what the library does, the runs of
the default initialization are its own.

The result has the rows that are complete, and apart from them those that are not; it is written after every network.
What an earlier result has, by the same protocol on the same data and networks and, of the hypernet, from the same
weights, is not made again: `--known` names it, and the result says how much of it comes from there. Order: the data as
named, then networks from the cheapest on, then initializations: library, hypernet, the simple ones, and the controls,
which have the hypernet's norms, or its values at random positions, and nothing else of it.

    OMP_NUM_THREADS=1 python -m benchmarks.initialization.vision --data cifar10=PATH --data tiny=PATH --minutes 60
    python -m benchmarks.initialization.vision --data cifar10=PATH --known cards/results/vision.json
    python -m benchmarks.initialization.vision --data tiny=PATH --real-size --steps 100 --batch 16 --result FILE
    python -m benchmarks.initialization.vision --estimate
    python -m benchmarks.initialization.vision --render cards/results/vision.json
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

import torch

from benchmarks.initialization.known import Known, known_entry
from benchmarks.initialization.real_networks import real_networks
from benchmarks.initialization.rows import JUDGED, Entry, Row, with_figures
from benchmarks.initialization.table import INITS, REQUIRED, REQUIRED_AT_REAL_SIZE, markdown, summary_of
from benchmarks.initialization.vision_cost import cost_of, table
from benchmarks.initialization.vision_networks import SIZE, UNSEEN, Network, networks
from benchmarks.provenance import provenance
from paramgen.architectures import Inputs
from paramgen.comparison import Event, Pixels, Protocol, compare
from paramgen.comparison.models import model_under_test
from paramgen.errors import OptionError, ParamgenError, UnknownNameError
from paramgen.initializers import initializer_of
from paramgen.initializers.library import KEPT, LIBRARY, PLAIN
from paramgen.storage.folder import write_text
from training.config import ClassSubset
from training.data.datasets import subset_of
from training.data.images import load_set

RESULTS: Final = Path(__file__).parents[2] / "cards" / "results" / "vision.json"
LEARNING_RATES: Final = (5e-4, 1.2e-3, 2.8e-3, 6.7e-3, 1.6e-2)
BATCH: Final = 32
PARTS: Final[dict[str, ClassSubset]] = {"tiny": "odd"}
"""Of Tiny ImageNet, the shipped hypernet's recipe has seen every other class, beginning with the first."""

DOMAINS: Final = {"cifar10": "trained on", "tiny": "unseen classes"}
"""What the shipped hypernet knows of a data set; of any other the whole domain is unseen."""

UNSEEN_DOMAIN: Final = "unseen domain"

_ENTRY: Final = "entry.json"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Images of the networks' size; `identity` is a hash of them."""

    name: str
    part: ClassSubset
    classes: int
    train: Pixels
    test: Pixels
    identity: str

    @classmethod
    def of(cls, name: str, train: Pixels, test: Pixels, *, part: ClassSubset = "all") -> "DataSet":
        """Return the data set with its hash."""
        digest = hashlib.sha256()
        for each in (train, test):
            digest.update(each.pixels.numpy())  # type: ignore[arg-type]
            digest.update(each.labels.numpy())  # type: ignore[arg-type]
        classes = int(train.labels.max()) + 1
        return cls(name=name, part=part, classes=classes, train=train, test=test, identity=digest.hexdigest()[:16])


class _OutOfTimeError(Exception):
    """The minutes are over; what has ended is kept."""


@final
class VisionBenchmark:
    """The runs under a folder, and what they amount to."""

    def __init__(
        self,
        out: Path,
        protocol: Protocol,
        data: Sequence[DataSet],
        *,
        hypernet: str,
        known: Sequence[Mapping[str, Any]] = (),
        among: Sequence[Network] = (),
        required: Sequence[str] = REQUIRED,
    ) -> None:
        self._out, self._protocol, self._data, self._hypernet = out, protocol, data, hypernet
        self._among, self._required = among or networks(), required
        self._described = {init: dict(initializer_of(self._spec(init)).describe()) for init in INITS}
        identities = {each.name: each.identity for each in data}
        self._known = [Known(result, protocol, identities, hypernet=self._facts_of_hypernet) for result in known]

    def run(
        self,
        chosen: Sequence[Network],
        inits: Sequence[str],
        *,
        until: float,
        write: Callable[[], None] = lambda: None,
    ) -> bool:
        """Make what is missing and call `write` after each network; return whether all was done before `until`."""
        try:
            for data in self._data:
                for network in chosen:
                    for init in inits:
                        self._make(data, network, init, until)
                    write()
        except _OutOfTimeError:
            write()
            return False
        return True

    def result(self) -> dict[str, Any]:
        """Return everything that has ended, of all networks and initializations, with where it comes from."""
        rows, partial = [], []
        for data in self._data:
            for network in self._among:
                entries = self._entries(data, network)
                missing = [init for init in self._required if init not in entries]
                if not missing:
                    rows.append(row_of(data, network, entries))
                elif entries:
                    partial.append({**row_of(data, network, entries).to_json(), "missing": missing})
        given = self._protocol.to_json()
        return {
            "summary": summary_of(rows),
            **{key: given[key] for key in ("steps", "seeds", "lr", "batch", "test_examples")},
            "hypernet": self._facts_of_hypernet,
            "protocol": given,
            "data": {each.name: _facts(each) for each in self._data},
            "rows": [row.to_json() for row in rows],
            "partial": partial,
            **({"known": [each.to_json() for each in self._known]} if self._known else {}),
            "threads": torch.get_num_threads(),
            **provenance(),
        }

    @property
    def _facts_of_hypernet(self) -> dict[str, Any]:
        return {"spec": self._hypernet, **self._described[JUDGED]}

    def _make(self, data: DataSet, network: Network, init: str, until: float) -> None:
        """Make the runs of one initialization, unless they are there."""
        folder = self._folder(data, network, init)
        if self._entry(data, network, init) is not None:
            return
        _refuse_late(until)

        def progress(event: Event) -> None:
            if event.ended is not None:
                _refuse_late(until)

        if init != LIBRARY and self._is_library(network, init, data.classes):
            kept: dict[str, Any] = {"same_as": LIBRARY}
        else:
            began = time.perf_counter()
            found = compare(
                (network.name, network.factory(data.classes)),
                (data.train, data.test),
                [self._spec(init)],
                self._protocol,
                example_input=example_of(),
                progress=progress,
            )
            entry = Entry.of(found.architectures[0])
            kept = entry.to_json()
            _say(data, network, init, entry, time.perf_counter() - began)
        write_text(folder / _ENTRY, json.dumps(kept, indent=1) + "\n")

    def _is_library(self, network: Network, init: str, classes: int) -> bool:
        """Whether the initializer has no rule of its own for any part of the network."""
        model = model_under_test((network.name, network.factory(classes)), "images", classes, example=example_of())
        rules = initializer_of(self._spec(init)).rules(model.architecture, model.graph)
        return set(rules.values()) <= {LIBRARY, KEPT, PLAIN}

    def _entries(self, data: DataSet, network: Network) -> dict[str, Entry]:
        """Return what has ended, by initialization."""
        entries = {init: self._entry(data, network, init) for init in INITS}
        found = {init: entry for init, entry in entries.items() if entry is not None}
        return {init: entry for init, entry in found.items() if (entry.same_as or init) in found}

    def _entry(self, data: DataSet, network: Network, init: str) -> Entry | None:
        """Return what is known of an initialization: its own runs, or an earlier result."""
        file = self._folder(data, network, init) / _ENTRY
        if file.is_file():
            return Entry.from_json(json.loads(file.read_text(encoding="utf-8")))
        return known_entry(self._known, data.name, network.call, init)

    def _folder(self, data: DataSet, network: Network, init: str) -> Path:
        depends = {
            "protocol": self._protocol.to_json(),
            "data": data.identity,
            "network": network.call,
            "init": self._described[init],
            "version": version("paramgen"),
        }
        key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:10]
        return self._out / data.name / network.name / f"{init.replace(':', '-')}-{key}"

    def _spec(self, init: str) -> str:
        return self._hypernet.join(init.split(JUDGED)) if init.endswith(JUDGED) else init


def row_of(data: DataSet, network: Network, entries: Mapping[str, Entry]) -> Row:
    """Return the row of a network; an initialization that is the same as another has that one's figures."""
    return Row(
        data=data.name,
        network=network.name,
        family=network.family,
        trained_family=network.family not in UNSEEN,
        domain=DOMAINS.get(data.name, UNSEEN_DOMAIN),
        made_by=network.call,
        beyond=network.beyond,
        metric="accuracy",
        entries=with_figures(entries),
    )


def main() -> None:
    """Estimate, render, or run and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    _options(parser)
    given = parser.parse_args()
    if given.render:
        print(markdown(json.loads(given.render.read_text(encoding="utf-8"))))
        return
    try:
        protocol = Protocol(
            steps=given.steps,
            batch=given.batch,
            seeds=given.seeds,
            lr=tuple(given.lr),
            evaluations=given.evaluations,
            test_examples=given.test_examples,
        )
        among = real_networks() if given.real_size else networks()
        required = REQUIRED_AT_REAL_SIZE if given.real_size else REQUIRED
        chosen = named("network", given.networks, {each.name: each for each in among})
        inits = named("initialization", given.inits or required, {init: init for init in INITS})
        if given.estimate:
            costs = [cost_of(network, protocol) for network in chosen]
            print(table(costs, protocol, inits=len(inits), data=len(given.data) or 2))
        else:
            _run(given, protocol, chosen, inits, among=among, required=required)
    except ParamgenError as error:
        sys.stderr.write(f"{error.message}\n")
        raise SystemExit(2) from error


def _options(parser: argparse.ArgumentParser) -> None:
    add_data_options(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/initialization"), help="where runs are kept")
    parser.add_argument("--result", type=Path, default=RESULTS, help="the result file")
    parser.add_argument("--hypernet", default="hypernet", metavar="SPEC", help="the hypernet, as hypernet:FOLDER")
    parser.add_argument(
        "--known", type=Path, nargs="+", default=[], help="results of which what is the same is taken over"
    )
    parser.add_argument("--minutes", type=float, default=None, help="stop after the run that ends then")
    parser.add_argument("--inits", nargs="+", help=f"of {', '.join(INITS)}; {', '.join(REQUIRED)} if none is named")
    parser.add_argument("--networks", nargs="+", help="names as --estimate prints them; all if none is named")
    parser.add_argument(
        "--real-size", action="store_true", help="the networks that people name, of 4 to 86 M parameters"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=BATCH, help="images a step")
    parser.add_argument(
        "--lr", type=float, nargs="+", default=LEARNING_RATES, help="learning rates, alike for all; wider where needed"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, default=5, help="besides the one at step 0")
    parser.add_argument("--test-examples", type=int, default=1000)
    parser.add_argument("--estimate", action="store_true", help="measure what it costs, and print it")
    parser.add_argument("--render", type=Path, metavar="FILE", help="print a result as Markdown")


def _run(
    given: argparse.Namespace,
    protocol: Protocol,
    chosen: Sequence[Network],
    inits: Sequence[str],
    *,
    among: Sequence[Network],
    required: Sequence[str],
) -> None:
    until = float("inf") if given.minutes is None else time.monotonic() + 60 * given.minutes
    data = data_sets(given)
    known = [json.loads(file.read_text(encoding="utf-8")) for file in given.known]
    measured = VisionBenchmark(
        given.out,
        protocol,
        data,
        hypernet=given.hypernet,
        known=known,
        among=among,
        required=required,
    )

    def write() -> None:
        write_text(given.result, json.dumps(measured.result(), indent=1) + "\n")

    finished = measured.run(chosen, inits, until=until, write=write)
    sys.stderr.write("All is done.\n" if finished else "Stopped by --minutes; the same command goes on.\n")


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `data_sets` reads."""
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="a folder or tar of classes")
    parser.add_argument("--part", action="append", default=[], metavar="NAME=PART", help="all, even or odd classes")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="where decoded images are kept")


def data_sets(given: argparse.Namespace) -> list[DataSet]:
    """Read the data that the command line names."""
    if not given.data:
        raise OptionError("No data is named. Type: --data cifar10=PATH --data tiny=PATH")
    parts = {**PARTS, **_pairs(given.part, "--part tiny=odd")}
    found = []
    for name, path in _pairs(given.data, "--data cifar10=PATH").items():
        part = parts.get(name, "all")
        if part not in ("all", "even", "odd"):
            raise UnknownNameError.of("part", part, ["all", "even", "odd"])
        images = load_set(Path(path), (SIZE,), given.cache)
        split = {which: subset_of(images[which, SIZE], part) for which in ("train", "test")}
        train, test = (Pixels(pixels=each.pixels, labels=each.labels) for each in split.values())
        found.append(DataSet.of(name, train, test, part=part))
    return found


def _pairs(given: Sequence[str], example: str) -> dict[str, Any]:
    pairs = [text.partition("=")[::2] for text in given]
    names = [name for name, _ in pairs]
    if not all(name.isidentifier() and value for name, value in pairs) or len(set(names)) < len(names):
        raise OptionError(f"{' '.join(given)!r} are no pairs of different names and values. Type: {example}")
    return dict(pairs)


def named(kind: str, requested: Sequence[str] | None, known: dict[str, Any]) -> list[Any]:
    """Return what was requested in the order in which it is listed; all if nothing was."""
    for name in requested or ():
        if name not in known:
            raise UnknownNameError.of(kind, name, list(known))
    return [each for name, each in known.items() if requested is None or name in requested]


def _facts(data: DataSet) -> dict[str, Any]:
    facts = {"part": data.part, "classes": data.classes, "sha256": data.identity}
    return {**facts, "train": len(data.train.labels), "test": len(data.test.labels)}


def example_of() -> Inputs:
    """Return an example input of every network, without values."""
    return (torch.zeros(2, 3, SIZE, SIZE, device="meta"),), {}


def _refuse_late(until: float) -> None:
    if time.monotonic() >= until:
        raise _OutOfTimeError


def _say(data: DataSet, network: Network, init: str, entry: Entry, seconds: float) -> None:
    final = entry.final
    ended = "failed" if final is None else f"{100 * final.mean:.1f} % at learning rate {entry.lr:g}"
    sys.stderr.write(f"{data.name} {network.name} {init}: {ended}, {seconds:.0f} s\n")


if __name__ == "__main__":
    main()
