"""The small application of `stub_door`, behind proxies: `python behind_proxy.py PUBLIC_URL`. It prints its address."""

from __future__ import annotations

import sys

from starlette.types import Receive, Scope, Send

from prebuild_tasks.config import Settings
from prebuild_tasks.web.serve.options import ServeOptions, proxy_networks
from prebuild_tasks.web.serve.proxies import Proxies
from prebuild_tasks.web.serve.refusals import Refusal
from prebuild_tasks.web.serve.run import Served, serve_api
from tests.web.serve.stub_door import make


def make_behind_proxy(settings: Settings, options: ServeOptions) -> Served:
    served = make(settings, options)

    async def refuse(_scope: Scope, _receive: Receive, send: Send, refusal: Refusal) -> None:
        await send({"type": "http.response.start", "status": refusal.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return Served(Proxies(served.app, options, refuse), served.stopping, served.close)


if __name__ == "__main__":
    chosen = ServeOptions(
        port=0,
        behind_proxy=True,
        trusted_proxies=proxy_networks(["127.0.0.1/32", "127.0.0.2/32"]),
        public_url=sys.argv[1],
    )
    serve_api(Settings(), chosen, make_behind_proxy, lambda url: print(url, flush=True))
