"""The HTTP API of `prebuild up`, and the token with which its owner may use it."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from prebuild_tasks.access import (
    NewTokenRequest,
    Scope,
    TokenState,
    create_token,
    list_tokens,
    rotate_token,
)
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.serve import missing_packages
from prebuild_tasks.cli.output import os_user
from prebuild_tasks.cli.up.children import Children

TOKEN_NAME = "up"
_BIND = "127.0.0.1"


class Api:
    """Serves the HTTP API on the loopback address, with an admin token in a file that only its owner can read."""

    def __init__(self, runtime: Runtime, children: Children) -> None:
        """Take the service's dependencies, and what starts its processes."""
        self._runtime, self._children = runtime, children

    def start(self) -> str:
        """Start the process, and return where it is and how to use it, as a sentence.

        Raises InputError if the installation's keys cannot be used.
        """
        if missing := missing_packages():
            return f"not served: {', '.join(missing)} is missing; pip install 'prebuild-tasks[serve]'"
        _ = self._runtime.keys  # makes the one of the data directory, which the process then reads
        path = self._keep_token()
        port = _free_port(self._runtime.settings.serve_port)
        arguments = ["serve", "--bind", _BIND, "--port", str(port), "--workers", "1", "--drain", "0s"]
        self._children.start("serve", [sys.executable, "-m", "prebuild_tasks.cli.main", *arguments])
        return f"http://{_BIND}:{port}/docs (an admin token is in {path}; see docs/http.md#tokens)"

    def _keep_token(self) -> Path:
        """Make the token, unless its file is there and it can still be used, and return the file."""
        database, path = self._runtime.database, self._runtime.settings.data_dir / "admin.token"
        usable = any(token.name == TOKEN_NAME and token.state is TokenState.USABLE for token in list_tokens(database))
        if usable and path.is_file():
            return path
        if usable:
            new = rotate_token(database, TOKEN_NAME, 0, actor=os_user())
        else:
            new = create_token(database, NewTokenRequest(name=TOKEN_NAME, scope=Scope.ADMIN), actor=os_user())
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{new.text}\n")
        return path


def _free_port(wanted: int) -> int:
    """Return the port that is set, or another one if that is taken, as by another `prebuild up`."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_BIND, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return wanted
