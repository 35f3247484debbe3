"""The address of the HTTP API and the token for it, from the environment or from the file of `prebuild login`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from prebuild_tasks.errors import InputError
from prebuild_tasks.model.addresses import is_loopback, masked_url
from prebuild_tasks.remedies import Remedy, RemedyKind

URL_VARIABLE, TOKEN_VARIABLE = "PREBUILD_API_URL", "PREBUILD_API_TOKEN"
TOKEN_FILE_VARIABLE = f"{TOKEN_VARIABLE}_FILE"
_PRIVATE, _OF_OTHERS = 0o600, 0o077
_OWN_DIRECTORY = 0o700


@dataclass(frozen=True, slots=True)
class Login:
    """An HTTP API and a token for it."""

    url: str
    """Without a slash at its end."""
    token: str = field(repr=False)


def is_web_address(url: str) -> bool:
    """Return whether a URL is that of an HTTP API, and not of a database."""
    return url.lower().startswith(("https://", "http://"))


def login_to(url: str, token: str) -> Login:
    """Return the login. Raises InputError for an address that cannot be used, or would show the token to a network."""
    parts = urlsplit(url)
    try:
        is_right = is_web_address(url) and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:
        is_right = False
    if not is_right or parts.username is not None:
        raise InputError(
            f"{masked_url(url)!r} is not the address of an API", hint="write it as https://prebuilds.example.com"
        )
    if parts.scheme.lower() == "http" and not is_loopback(parts.hostname or ""):
        raise InputError(
            f"{url} is not encrypted, and would show the token to the network", hint="use the address with https"
        )
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(f"there is no usable token for {url}", remedy=Remedy(RemedyKind.LOG_IN))
    return Login(url.rstrip("/"), token)


def read_login(environ: Mapping[str, str]) -> Login | None:
    """Return the login that the environment names, or that of `prebuild login`; None: neither is there.

    The latter is used only where nothing says which database to use: no variable, and no data directory here.

    Raises InputError for a login that cannot be used, or a file that cannot be read.
    """
    if url := environ.get(URL_VARIABLE, ""):
        return login_to(url, environ.get(TOKEN_VARIABLE, "") or _token_in_file(environ))
    from prebuild_tasks.claim_settings import DEFAULT_DATA_DIR

    if names_database(environ) or DEFAULT_DATA_DIR.is_dir():
        return None
    try:
        path = login_file(environ)
    except RuntimeError:  # this user has no home, as in a container
        return None
    try:
        if path.stat().st_mode & _OF_OTHERS:
            raise InputError(f"others can read the token in {path}", hint=f"chmod 600 {path}, and get another token")
        stored = json.loads(path.read_text(encoding="utf-8"))
        return login_to(str(stored["url"]), str(stored["token"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{path} cannot be read: {error.strerror}", remedy=Remedy(RemedyKind.LOG_IN)) from None
        raise InputError(f"{path} does not hold a login", remedy=Remedy(RemedyKind.LOG_IN)) from None


def names_database(environ: Mapping[str, str]) -> bool:
    """Return whether the environment says which database to use."""
    from prebuild_tasks.claim_settings import DATA_DIR_VARIABLE, DATABASE_VARIABLES

    names = (*DATABASE_VARIABLES, f"{DATABASE_VARIABLES[0]}_FILE", DATA_DIR_VARIABLE)
    return any(environ.get(name) for name in names)


def write_login(environ: Mapping[str, str], login: Login) -> Path:
    """Store a login so that only this user can read it, and return its file."""
    path = login_file(environ)
    path.parent.mkdir(mode=_OWN_DIRECTORY, parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"url": login.url, "token": login.token}, file)
    new.replace(path)
    return path


def login_file(environ: Mapping[str, str]) -> Path:
    """Return the file of `prebuild login`."""
    home = environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if home else Path.home() / ".config") / "prebuild" / "login.json"


def _token_in_file(environ: Mapping[str, str]) -> str:
    path = environ.get(TOKEN_FILE_VARIABLE, "")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{TOKEN_FILE_VARIABLE}={path} cannot be read: {reason}") from None
