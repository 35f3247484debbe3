"""The page and the HTTP API of `prebuild up`, and the token with which its owner may use them."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from prebuild_tasks.access import Authenticator, new_login_code
from prebuild_tasks.bootstrap import Runtime
from prebuild_tasks.cli.commands.serve import missing_packages
from prebuild_tasks.cli.output import os_user
from prebuild_tasks.cli.up.children import Children
from prebuild_tasks.cli.up.token import keep_token

_BIND = "127.0.0.1"


class Api:
    """Serves the page and the HTTP API on the loopback address, with an admin token in a file for its owner alone."""

    def __init__(self, runtime: Runtime, children: Children) -> None:
        """Take the service's dependencies, and what starts its processes."""
        self._runtime, self._children = runtime, children

    def start(self) -> dict[str, str]:
        """Start the process, and return where the page and the API are and how to use them, each as a sentence."""
        if missing := missing_packages():
            return {"api": f"not served: {', '.join(missing)} is missing; pip install 'prebuild-tasks[serve]'"}
        settings = self._runtime.settings
        path = keep_token(self._runtime.database, settings.data_dir, os_user())
        port = _free_port(settings.serve_port)
        arguments = ["serve", "--bind", _BIND, "--port", str(port), "--workers", "1", "--drain", "0s"]
        self._children.start("serve", [sys.executable, "-m", "prebuild_tasks.cli.main", *arguments])
        base = f"http://{_BIND}:{port}"
        return {
            "page": f"{base}/login?code={self._code(path)} (logs you in once, within 10 minutes)",
            "api": f"{base}/docs (an admin token is in {path}; see docs/http.md#tokens)",
        }

    def _code(self, path: Path) -> str:
        """Return a code for one log-in with the token of a file. The link is shown on terminals, the token is not."""
        database = self._runtime.database
        principal = Authenticator(database).authenticate(path.read_text(encoding="utf-8").strip())
        return new_login_code(database, principal.token_id)


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
