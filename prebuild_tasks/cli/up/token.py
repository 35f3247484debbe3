"""The admin token of `prebuild up`, in a file that only the owner of the data directory can read."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from pathlib import Path

from prebuild_tasks.access import (
    Authenticator,
    NewToken,
    NewTokenRequest,
    Scope,
    TokenState,
    TokenView,
    create_token,
    list_tokens,
    rotate_token,
)
from prebuild_tasks.db.engine import Database
from prebuild_tasks.errors import AuthenticationError

FILE_NAME = "admin.token"
_PRIVATE = 0o600


def keep_token(database: Database, data_dir: Path, actor: str) -> Path:
    """Return the file with the token. Unless it holds a usable admin token, one is made and written.

    Each data directory has a token of its own, so that two of them beside one database leave each other's alone.
    """
    path = data_dir / FILE_NAME
    if _is_admin(database, path):
        path.chmod(_PRIVATE)
        return path
    new = _make(database, name_for(data_dir), actor)
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w") as file:
        file.write(f"{new.text}\n")
    unfinished.replace(path)
    return path


def name_for(data_dir: Path) -> str:
    """Return the name of the token of a data directory on this host."""
    place = f"{socket.gethostname()}:{data_dir.resolve()}"
    return f"up-{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _make(database: Database, name: str, actor: str) -> NewToken:
    """Create the token, or rotate the one whose file was lost. One that somebody else made under the name is left."""
    usable = [token for token in list_tokens(database) if token.name == name and token.state is TokenState.USABLE]
    if usable and all(map(_is_for_everything, usable)):
        return rotate_token(database, name, 0, actor=actor)
    request = NewTokenRequest(name=f"{name}-{secrets.token_hex(4)}" if usable else name, scope=Scope.ADMIN)
    return create_token(database, request, actor=actor)


def _is_for_everything(token: TokenView) -> bool:
    return token.scope is Scope.ADMIN and not (token.organization or token.presets or token.owner)


def _is_admin(database: Database, path: Path) -> bool:
    """Return whether a file holds a usable token that may do everything."""
    try:
        principal = Authenticator(database).authenticate(path.read_text(encoding="utf-8").strip())
    except (AuthenticationError, OSError, UnicodeDecodeError):
        return False
    return principal.scope is Scope.ADMIN and principal.reach.is_everything
