"""Print pip's settings as variables of uv, for the shell to evaluate: uv does not read pip's configuration.

A company configures its package mirror and its certificate authority for pip, in files or in PIP_* variables. Variables
of uv that are already set stay as they are. `pip config list` has one setting a line; later ones win.
"""

from __future__ import annotations

import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version

VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}
_SYSTEM_STORE_SINCE = (24, 2)
"""The version from which pip itself uses the certificates of the system."""


def settings(lines: Iterable[str]) -> dict[str, str]:
    """Read the output of `pip config list`: global settings, then those of `install`, then those of variables."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in lines:
        name, _, value = line.strip().partition("=")
        section, _, key = name.partition(".")
        if section in found and value:
            found[section][key] = " ".join(" ".join(shlex.split(value)).replace("\\n", " ").split())
    return found["global"] | found["install"] | found[":env:"]


def variables(pip: Mapping[str, str], pip_version: tuple[int, ...], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to set, in addition to those of the environment."""
    # The system's certificates, under the names of older and newer versions of uv.
    wanted = {"UV_NATIVE_TLS": "1", "UV_SYSTEM_CERTS": "1"}
    wanted |= {VARIABLES[key]: value for key, value in pip.items() if key in VARIABLES}
    if "UV_EXTRA_INDEX_URL" in wanted:
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip does; the lock's hashes say which file is right
    if "UV_FIND_LINKS" in wanted:
        wanted["UV_FIND_LINKS"] = wanted["UV_FIND_LINKS"].replace(" ", ",")
    store = ssl.get_default_verify_paths().cafile
    named = {"PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & environment.keys() or "cert" in pip
    if pip_version < _SYSTEM_STORE_SINCE and store and not named:
        wanted["PIP_CERT"] = store
    return {name: value for name, value in wanted.items() if not environment.get(name)}


def main() -> None:
    """Print the variables of this environment."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    numbers = tuple(int(part) for part in version("pip").split(".")[:2] if part.isdigit())
    for name, value in variables(settings(said.splitlines()), numbers, os.environ).items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
