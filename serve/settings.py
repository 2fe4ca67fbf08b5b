"""The operator's settings, read from the environment: `PARAMGEN_SERVE_` and the name in capitals."""

from pathlib import Path
from typing import Annotated, final

from pydantic import Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]


@final
class Settings(BaseSettings):
    """The settings; every limit has a default that suits a machine with two cores and 8 GB."""

    model_config = SettingsConfigDict(env_prefix="PARAMGEN_SERVE_", frozen=True)

    host: str = "127.0.0.1"
    port: int = 8000

    keys: tuple[KeyHash, ...] = ()
    """sha256 of each bearer key. Without any, only requests that arrive on a loopback address are answered."""
    requests_per_minute: Annotated[int, Field(ge=0)] = 600
    """Of one key; 0: no limit."""
    hypernets: tuple[str, ...] = ()
    """Hypernets that are served besides those that ship, exactly as written: `org/name@revision`, a folder, ..."""

    max_body: Count = 16_000_000
    """Bytes of a request's body."""
    max_depth: Count = 64
    """Objects and lists inside each other."""
    max_values: Count = 1_000_000
    """Commas, objects and lists of a body: each of its values takes memory."""
    bodies: Count = 256_000_000
    """Bytes of all bodies that are read or wait at once; beyond, large ones are refused for the moment."""
    max_nodes: Count = 20_000
    """Of a graph; operations of a network that is built by name."""
    max_elements: Count = 2_000_000_000
    max_bytes: Count = 8_000_000_000
    """Of the file that is answered."""

    memory: Count | None = None
    """Bytes that the process may take; None: 4/5 of what its control group or the machine has."""
    prediction_memory: Count | None = None
    """Bytes that one prediction may take at its peak, by an estimate; None: what libraries and networks leave."""
    predictions: Count = 2
    """At once; each has a thread."""
    waiting: Annotated[int, Field(ge=0)] = 64
    """Predictions that may wait for a thread; beyond, requests are refused for the moment."""
    torch_threads: Count = 1
    """Of each prediction."""
    seconds: Seconds = 300
    """For building, tracing and predicting, each."""
    body_seconds: Seconds = 30
    """For a request's head, and for its body."""
    idle_seconds: Seconds = 30
    """For a reader to receive the next piece."""
    reader_seconds: Seconds = 3600
    """For a reader to receive everything."""
    connections: Count = 512
    """Whose requests are answered at once; beyond, requests are refused for the moment. Twice as many may be open."""

    spool: Path | None = None
    """The folder of files while they are predicted and read; None: the system's folder for temporary files."""
    spool_bytes: Count = 20_000_000_000
    """Of all such files together; unread ones stay until their space is needed."""
    spool_files: Count = 4096
    """At most so many, and never more than half of the files that the process may have open."""
    remembered_bytes: Count = 400_000_000
    """Of networks that stay built and traced, for all callers; for each of them at most half of that."""

    telemetry: bool = False
    """Traces by OpenTelemetry, to where its own environment variables say."""
