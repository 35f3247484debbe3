"""Tables of access: tokens, sessions of the page, and the codes that begin one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from prebuild_tasks.db.base import Base, UuidText


class Token(Base):
    """A token by its digest, with what it may do. During the overlap of a rotation two rows have one name."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(UuidText, primary_key=True)
    name: Mapped[str] = mapped_column(String(63), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    """SHA-256 in hex of the token's text, which is not stored."""
    scope: Mapped[str] = mapped_column(String(20))
    organization: Mapped[str] = mapped_column(String(63), server_default="")
    """Empty: any."""
    presets: Mapped[list[str]]
    """Names of pools, `template/preset`. Empty: any."""
    owner: Mapped[str] = mapped_column(String(100), server_default="")
    """Empty: any, or with scope `claim` only if `any_owner`."""
    any_owner: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[datetime | None]
    """A rotation brings it forward to the end of the overlap."""
    last_used_at: Mapped[datetime | None]
    """Exact to a minute."""
    revoked_at: Mapped[datetime | None]


class PageSession(Base):
    """A session of the page, by the digest of its id. It acts as its token, and ends with it."""

    __tablename__ = "sessions"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 in hex of the session's id, which is not stored."""
    token_id: Mapped[str] = mapped_column(UuidText)
    """Not a foreign key: a session whose token is no longer kept has ended."""
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    """Exact to a minute."""
    ends_at: Mapped[datetime]


class LoginCode(Base):
    """A code that begins one session, by its digest."""

    __tablename__ = "login_codes"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 in hex of the code, which is not stored."""
    token_id: Mapped[str] = mapped_column(UuidText)
    """The token as which the session acts."""
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
