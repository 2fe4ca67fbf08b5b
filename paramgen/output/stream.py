"""Carry a prediction's tensors to the disk, or to their digests alone: drawn, measured and hashed, several at once.

A large tensor that the library draws is never in memory as a whole: each piece is drawn, hashed and written while it
is in the processor's cache. Other tensors are measured and written while the next is made, so two are in memory.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from hashlib import sha256
from math import isfinite, sqrt
from os import cpu_count
from typing import Any, Final, final

import torch
from torch import Tensor

from paramgen.initializers.library import LIBRARY
from paramgen.prediction import Prediction
from paramgen.slots.init_program import slot_generator
from paramgen.slots.manifest import Slot
from paramgen.storage.writer import SafetensorsWriter, pieces

LARGE: Final = 1 << 20  # elements of a slot that is made piece by piece
PIECE_ELEMENTS: Final = 1 << 18  # elements; a piece of float32 and its copy of other types fit into a cache of 2 MiB
_SERIAL: Final = 1 << 14  # elements; torch divides sums of more than 2**15 among threads
_TICK: Final = 0.2  # seconds between two reports of progress
_THREADS: Final = min(4, cpu_count() or 1)

Advance = Callable[[str, int], None]
"""Called with the stage (`predict`, `check`) and the number of elements done."""

Record = dict[str, Any]


@final
class _Nowhere:
    """Takes tensors of which only the records are wanted."""

    def write(self, name: str, tensor: Tensor) -> None:
        """Drop it."""

    def write_pieces(self, names: Sequence[str], parts: Iterable[Tensor]) -> None:
        """Drop each part once it was measured."""
        for _ in parts:
            pass


def records_of(prediction: Prediction, progress: Advance | None = None) -> dict[str, Record]:
    """Make every tensor and return the record of each name that would be stored; nothing is written."""
    return stream(prediction, _Nowhere(), progress)


def stream(prediction: Prediction, writer: SafetensorsWriter | _Nowhere, progress: Advance | None) -> dict[str, Record]:
    """Write every tensor and return the record of each name."""
    run = _Stream(prediction, writer, progress)
    apart = [slot for slot in prediction.architecture.manifest.filled if _in_pieces(prediction, slot)]
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            waiting = [pool.submit(run.in_pieces, slot) for slot in sorted(apart, key=lambda slot: -slot.elements)]
            run.one_after_the_other(pool, [slot.name for slot in apart])
            run.wait(waiting)
        except BaseException:
            run.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    return run.records


def _in_pieces(prediction: Prediction, slot: Slot) -> bool:
    """Whether a slot is large and the library's draw of it can be made piece by piece."""
    library = prediction.rounding is None and prediction.resolved.is_local and prediction.rules[slot.name] == LIBRARY
    return library and slot.elements >= LARGE and slot.program is not None and slot.program.piecewise


@final
class _Stream:
    """One prediction on its way to the disk."""

    def __init__(self, prediction: Prediction, writer: SafetensorsWriter | _Nowhere, progress: Advance | None) -> None:
        self.records: dict[str, Record] = {}
        self.stopped = threading.Event()
        self._prediction = prediction
        self._writer = writer
        self._progress = progress
        self._done = 0
        self._lock = threading.Lock()

    def in_pieces(self, slot: Slot) -> None:
        """Draw, measure and write a slot whose draw can be made piece by piece."""
        assert slot.program is not None
        dtype = self._prediction.dtype_of(slot)
        statistics = TensorStatistics(slot.shape, dtype)

        def parts(drawn: Iterator[Tensor]) -> Iterator[Tensor]:
            for part in drawn:
                if self.stopped.is_set():
                    return
                converted = part.to(dtype)
                statistics.add(converted)
                yield converted
                self._advance(len(part))

        generator = slot_generator(self._prediction.seed, slot.name)
        names = self._names(slot.name)
        with torch.no_grad():
            self._writer.write_pieces(names, parts(slot.program.chunks(generator, PIECE_ELEMENTS)))
        self._keep(slot.name, statistics)

    def one_after_the_other(self, pool: ThreadPoolExecutor, apart: list[str]) -> None:
        """Write all other slots as the prediction yields them."""
        done = frozenset(apart)
        rest = [slot.name for slot in self._prediction.architecture.manifest.filled if slot.name not in done]
        pending: Future[None] | None = None
        for name, tensor in self._prediction.only(rest) if apart else self._prediction:
            if pending is not None:
                self.wait([pending])
            pending = pool.submit(self._finish, name, tensor)
            self._report()
        if pending is not None:
            self.wait([pending])

    def wait(self, futures: list[Future[None]]) -> None:
        """Wait and say how far it is; raise what one of them raised."""
        left = set(futures)
        while left:
            done, left = wait(left, timeout=_TICK, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            self._report()

    def _finish(self, name: str, tensor: Tensor) -> None:
        for alias in self._names(name):
            self._writer.write(alias, tensor)
        self._keep(name, statistics_of(tensor))
        self._advance(tensor.numel())

    def _names(self, name: str) -> tuple[str, ...]:
        """Return every name under which a slot is stored."""
        layout, manifest = self._prediction.architecture.layout, self._prediction.architecture.manifest
        return manifest.names_of(name) if layout.tied == "each" else (name,)

    def _keep(self, name: str, statistics: "TensorStatistics") -> None:
        shares = self._prediction.shares.get(name)
        filled = {"filled_elements": dict(shares)} if shares else {}
        record = {"rule": self._prediction.rules[name], **filled, **statistics.to_json()}
        self.records.update(dict.fromkeys(self._names(name), record))

    def _advance(self, elements: int) -> None:
        with self._lock:
            self._done += elements

    def _report(self) -> None:
        if self._progress is not None:
            self._progress("predict", self._done)


@final
class TensorStatistics:
    """Mean, standard deviation and digest of a tensor that comes piece by piece, in row-major order.

    Those of complex numbers are of their real and imaginary parts, taken together.

    The sums are of differences from the first element, in pieces so small that torch sums each in one thread: the
    digits do not depend on the number of threads. Three times as fast as `torch.std_mean`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._shape, self._dtype = shape, dtype
        narrow = dtype == torch.complex64 or (dtype.is_floating_point and dtype.itemsize < 8)
        self._wide = torch.float32 if narrow else torch.float64
        self._first: Tensor | None = None
        self._count, self._total, self._squares = 0, 0.0, 0.0
        self._digest = sha256()

    @torch.no_grad()
    def add(self, piece: Tensor) -> None:
        """Take the next piece into account."""
        flat = piece.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        self._digest.update(flat.view(torch.uint8).numpy().data)
        flat = torch.view_as_real(flat).reshape(-1) if self._dtype.is_complex else flat
        if not len(flat):
            return
        if self._first is None:
            self._first = flat[0].to(self._wide, copy=True)  # the piece may be drawn over
        for part in torch.split(flat, _SERIAL):
            away = part.to(self._wide) - self._first
            self._total += float(away.sum())
            self._squares += float(away.square_().sum())
        self._count += len(flat)

    def moments(self) -> tuple[float | None, float | None]:
        """Return mean and standard deviation to six digits; None where they are not finite."""
        if self._first is None:
            return None, None
        mean = self._total / self._count
        variance = self._squares / self._count - mean * mean
        return _rounded(float(self._first) + mean), _rounded(sqrt(max(variance, 0.0)))

    def to_json(self) -> Record:
        """Return the record of the tensor."""
        mean, std = self.moments()
        return {
            "shape": list(self._shape),
            "dtype": str(self._dtype).removeprefix("torch."),
            "mean": mean,
            "std": std,
            "sha256": self._digest.hexdigest(),
        }


def statistics_of(tensor: Tensor) -> TensorStatistics:
    """Return the statistics of a whole tensor."""
    statistics = TensorStatistics(tuple(tensor.shape), tensor.dtype)
    for piece in pieces(tensor, PIECE_ELEMENTS) if tensor.numel() else ():
        statistics.add(piece)
    return statistics


def _rounded(value: float) -> float | None:
    return float(f"{value:.6g}") if isfinite(value) else None
