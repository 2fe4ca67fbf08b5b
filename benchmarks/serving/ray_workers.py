"""The service on a Ray cluster of two workers on this machine, of which one is killed under load.

`python -m benchmarks.serving.ray_workers` needs `pip install 'ray[serve]'`. Every answer is compared with the file of a
local prediction. A request that fails is sent again; what fails three times is counted.
"""

import argparse
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx2

import paramgen
from benchmarks.provenance import provenance

ROOT: Final = Path(__file__).parents[2]
RESULT: Final = ROOT / "cards" / "results" / "serve_ray.json"
ARCH: Final = "squeezenet1_1"
SEEDS: Final = 8
TRIES: Final = 3
PORT: Final = 8321


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PARAMGEN_SERVE_REQUESTS_PER_MINUTE": "0"}
    expected = [_expected(seed) for seed in range(SEEDS)]
    with _cluster() as (cluster, workers):
        load = _Load(expected, options.requests)
        before = load.run(options.clients, until=options.requests // 2)
        killer = threading.Timer(2.0, lambda: cluster.remove_node(workers[-1], allow_graceful=False))
        killer.start()
        after = load.run(options.clients, until=options.requests)
        killer.join()
    result = {
        "result": "serve_ray",
        "command": "python -m benchmarks.serving.ray_workers",
        **provenance(),
        "ray": version("ray"),
        "architecture": ARCH,
        "workers": 2,
        "clients": options.clients,
        "before": before,
        "while one worker is killed": after,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def _expected(seed: int) -> str:
    with TemporaryDirectory() as made:
        paramgen.write(ARCH, f"{made}/start", seed=seed, verify=False)
        return sha256(Path(made, "start", "model.safetensors").read_bytes()).hexdigest()


@contextmanager
def _cluster() -> Iterator[tuple[Any, list[Any]]]:
    """Yield a head without room for replicas and two workers with room for one each."""
    import ray
    import ray.serve
    from ray.cluster_utils import Cluster

    from serve.ray_app import deployment

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        ray.serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": PORT})
        two = deployment.options(autoscaling_config={"min_replicas": 2, "max_replicas": 2})
        ray.serve.run(two.bind(), name="paramgen")
        yield cluster, workers
    finally:
        ray.serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


class _Load:
    """Requests, one after the other from each client, over all seeds in turn."""

    def __init__(self, expected: list[str], total: int) -> None:
        self._expected, self._numbers, self._lock = expected, iter(range(total)), threading.Lock()
        self._last = -1

    def run(self, clients: int, *, until: int) -> dict[str, Any]:
        """Send what is left up to number `until`, and return what was counted."""
        counts: Counter[str] = Counter()
        replicas: Counter[str] = Counter()
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            for tally in pool.map(lambda _: self._client(until, replicas), range(clients)):
                counts += tally
        seconds = time.perf_counter() - started
        return {
            "requests": counts["requests"],
            "tried again": counts["again"],
            "failed": counts["failed"],
            "other bytes": counts["other"],
            "answers by replica": sorted(replicas.values(), reverse=True),
            "seconds": round(seconds, 1),
        }

    def _client(self, until: int, replicas: Counter[str]) -> Counter[str]:
        tally: Counter[str] = Counter()
        with httpx2.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=120, trust_env=False) as client:
            while (number := self._next(until)) is not None:
                tally["requests"] += 1
                self._ask(client, number, tally, replicas)
        return tally

    def _next(self, until: int) -> int | None:
        with self._lock:
            if self._last + 1 >= until:
                return None
            self._last = next(self._numbers)
            return self._last

    def _ask(self, client: httpx2.Client, number: int, tally: Counter[str], replicas: Counter[str]) -> None:
        seed = number % SEEDS
        for _ in range(TRIES):
            try:
                answer = client.get("/v1/weights", params={"arch": ARCH, "seed": seed}).raise_for_status()
            except httpx2.HTTPError:
                tally["again"] += 1
                time.sleep(1)
                continue
            tally["other"] += sha256(answer.content).hexdigest() != self._expected[seed]
            replicas[answer.headers["X-Replica"]] += 1
            return
        tally["failed"] += 1


if __name__ == "__main__":
    main()
