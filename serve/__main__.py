"""`python -m serve`: the application under uvicorn, with limits on connections."""

import gc
import sys

import uvicorn
from pydantic import ValidationError

from paramgen.errors import ParamgenError, one_line
from serve.connections import allow_descriptors, connection_class
from serve.settings import Settings


def main() -> int:
    """Serve until a signal comes, then finish running requests."""
    try:
        settings = Settings()
        allow_descriptors()  # before the shares of connections and files are made of them
        from serve.app import create_app  # this import takes seconds: wrong settings are reported first

        app = create_app(settings)
    except ValidationError as error:  # its text would show the value, which may be a key
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(map(str, first["loc"][:1])).upper()
        return _refused(f"PARAMGEN_SERVE_{name}: {first['msg']}")
    except (ParamgenError, ValueError) as error:
        return _refused(one_line(error))
    hindrance = app.state.service.spool.hindrance()
    if hindrance is not None:  # said now, and not to each caller
        return _refused(f"{hindrance} Set PARAMGEN_SERVE_SPOOL to a folder with room that this user may write.")
    app.state.service.memory.bind()
    gc.collect()
    gc.freeze()  # full collections need not visit the libraries' objects, which would delay requests
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=connection_class(settings),
        timeout_graceful_shutdown=round(settings.seconds),
        log_config=None,
        server_header=False,
    )
    return 0


def _refused(reason: str) -> int:
    sys.stderr.write(f"error: {one_line(reason)}\n")
    return 2


sys.exit(main())
