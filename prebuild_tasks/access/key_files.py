"""The files of the installation's keys: read them, and make the one that a data directory keeps."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from prebuild_tasks.access.keys import InstallationKey, InstallationKeys
from prebuild_tasks.errors import InputError
from prebuild_tasks.remedies import Remedy, RemedyKind

_NAME = "secret-key"
_BYTES = 32
_LENGTH_MAX = 4096
"""Bytes of a file."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_GROUP_READS = stat.S_IRGRP
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def installation_keys(files: Sequence[Path], data_dir: Path) -> InstallationKeys:
    """Read the keys of the installation: the first file's signs, and all verify.

    Without files it is the key that the data directory keeps, which the first process makes. Raises InputError for a
    file that cannot be read, that others can read, or that does not hold a key.
    """
    return InstallationKeys(tuple(map(_read, files or (keep_key(data_dir),))))


def keep_key(data_dir: Path) -> Path:
    """Return the file of the key in a data directory, and make it if there is none. Processes may do so at once.

    Raises InputError if it cannot be made.
    """
    path = data_dir / _NAME
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
    except OSError as error:
        remedy = Remedy(RemedyKind.MAKE_SECRET_KEY)
        raise InputError(f"the secret key {path} cannot be made: {error.strerror}", remedy=remedy) from None
    return path


def _make(path: Path) -> None:
    """Write a random key. A link appears with its content, and never replaces the key of another process."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(new)
    finally:
        new.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> InstallationKey:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            raw = file.read(_LENGTH_MAX + 1)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise InputError(
            f"the secret key {path} cannot be read: {error.strerror or error}",
            hint="" if missing else "name a file that this user can read",
            remedy=Remedy(RemedyKind.MAKE_SECRET_KEY, str(path)) if missing else None,
        ) from None
    # As PostgreSQL has it for its TLS key: what hands secrets to a service may own them, and let its group read them.
    allowed = _GROUP_READS if status.st_uid == 0 and os.geteuid() != 0 else 0
    if status.st_mode & _OTHERS & ~allowed:
        raise InputError(
            f"others than its owner may use the secret key {path}, whose mode is {stat.S_IMODE(status.st_mode):04o}",
            remedy=Remedy(RemedyKind.PROTECT_FILE, str(path)),
        )
    secret = _decoded(raw)
    if len(secret) < _BYTES:
        raise InputError(
            f"the secret key {path} is not {_BYTES} random bytes or more, in hex or base64",
            remedy=Remedy(RemedyKind.MAKE_SECRET_KEY),
        )
    return InstallationKey(secret)


def _decoded(raw: bytes) -> bytes:
    """Return the bytes of a key in hex or base64; none for anything else."""
    text = raw.strip()
    if len(raw) > _LENGTH_MAX:
        return b""
    with suppress(binascii.Error):
        return binascii.unhexlify(text)
    bare = text.rstrip(b"=").translate(_URL_SAFE)
    with suppress(binascii.Error):
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    return b""
