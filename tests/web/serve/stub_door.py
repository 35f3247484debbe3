"""A server with a small application in place of the routes: `python stub_door.py WORKERS KEEP_ALIVE [CERT KEY]`.

It prints its address. `/wait` answers 202 once the process is about to stop; `/slow` takes half a second; `/pid` tells
which process answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from starlette.types import Receive, Scope, Send

from prebuild_tasks.config import Settings
from prebuild_tasks.web.serve.access_log import AccessLog
from prebuild_tasks.web.serve.measures import Measures
from prebuild_tasks.web.serve.options import ServeOptions
from prebuild_tasks.web.serve.run import Served, serve_api

SLOW = "SLOW_START"
"""The variable with the seconds that each of several processes takes to import what it needs."""


class Stub:
    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": f"{message['type']}.complete"})
            return
        status, body = 200, b"ok"
        match scope["path"]:
            case "/wait":
                await self.stopping.wait()
                status = 202
            case "/slow":
                await asyncio.sleep(0.5)
            case "/readyz":
                status = 503 if self.stopping.is_set() else 200
            case "/pid":
                body = json.dumps([os.getpid(), scope["client"][0]]).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


def make(_settings: Settings, _options: ServeOptions) -> Served:
    stub = Stub()
    return Served(AccessLog(stub, Measures()), stub.stopping, lambda: None)


if __name__ == "__mp_main__":
    time.sleep(float(os.environ.get(SLOW, "0")))

if __name__ == "__main__":
    workers, keep_alive, *tls = sys.argv[1:]
    cert, key = (Path(path) for path in tls) if tls else (None, None)
    chosen = ServeOptions(port=0, workers=int(workers), keep_alive=float(keep_alive), tls_cert=cert, tls_key=key)
    serve_api(Settings(), chosen, make, lambda url: print(url, flush=True))
