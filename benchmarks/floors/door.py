"""An HTTP API with one route, made of FastAPI, uvicorn and psycopg: it checks a token, and claims by one statement.

python -m benchmarks.floors.door REQUEST, a JSON object: dsn, connections, keep_alive, token and claim (statements).
It prints its port, and serves until it is terminated.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel
from starlette.responses import Response

_BACKLOG = 2048


class Body(BaseModel):
    """The body of a claim."""

    presets: list[str]
    owner: str
    wait: float = 0


def make_app(dsn: str, connections: int, token_query: str, statement: str) -> FastAPI:
    """Make the application, with its own pool of connections."""
    free: asyncio.Queue[psycopg.AsyncConnection[Any]] = asyncio.Queue()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        for _ in range(connections):
            free.put_nowait(await psycopg.AsyncConnection.connect(dsn, autocommit=True))
        yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/claims")
    async def claim(
        body: Body, authorization: Annotated[str, Header()], idempotency_key: Annotated[str, Header()]
    ) -> Response:
        connection = await free.get()
        try:
            digest = hashlib.sha256(authorization.partition(" ")[2].encode()).hexdigest()
            token = await (await connection.execute(token_query, {"digest": digest})).fetchone()  # type: ignore[call-overload]
            if token is None:
                raise HTTPException(401)
            values = _values(token[0], body, idempotency_key)
            hit = await (await connection.execute(statement, values)).fetchone()  # type: ignore[call-overload]
        finally:
            free.put_nowait(connection)
        if hit is None or hit[0] is None:
            raise HTTPException(429)
        answer = {
            "id": str(values["claim_id"]), "workspace": hit[1], "workspace_id": str(hit[0]), "preset": body.presets[0],
            "owner": hit[2], "url": hit[3], "directory": hit[4], "resource_id": hit[5], "host": hit[13],
            "request_id": idempotency_key, "claimed_at": hit[6].isoformat(), "state": "ready",
        }  # fmt: skip
        return Response(json.dumps(answer), 201, media_type="application/json")

    return app


def _values(principal: str, body: Body, key: str) -> dict[str, object]:
    """Return the values of the statement."""
    template, _, preset = body.presets[0].partition("/")
    canonical = json.dumps([body.presets, body.owner], separators=(",", ":"))
    return {
        "template": template, "preset": preset, "owner": body.owner, "name": "", "build_id": uuid.uuid4(),
        "elapsed_ms": 0.1, "below_limit": False, "alive_s": 30.0, "principal": principal, "key": key,
        "claim_id": uuid.uuid4(), "body_digest": hashlib.sha256(canonical.encode()).hexdigest(),
        "request_id": hashlib.sha256(f"{principal}\0{key}".encode()).hexdigest(), "actor": f"token:{principal}",
        "actor_kind": "token", "actor_name": principal, "actor_subject": body.owner,
    }  # fmt: skip


def main(request: dict[str, Any]) -> None:
    """Serve on a free port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(_BACKLOG)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = make_app(request["dsn"], request["connections"], request["token"], request["claim"])
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="on", log_config=None, access_log=False, proxy_headers=False,
        server_header=False, backlog=_BACKLOG, timeout_keep_alive=request["keep_alive"],
    )  # fmt: skip
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
