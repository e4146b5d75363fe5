"""Tokens of the service: who may do what, until when. Only a digest of the secret is kept."""

import datetime as dt
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from neuralyzer.errors import UsageError
from neuralyzer.service.tables import tokens
from neuralyzer.workspace.database import Database

BITS = 256  # of a secret; so many cannot be guessed, and a plain digest is enough
FORM = re.compile(r"nz_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
NAME = 100  # characters


class Scope(StrEnum):
    """What a token allows; each but ``read`` allows that too, and ``admin`` allows all."""

    READ = "read"  # states, due dates, verdicts, certificates: nothing that names a person
    REQUEST = "request"  # to make and cancel requests, to search for a person; sees names
    APPROVE = "approve"  # to approve, extend, refuse and take up again
    ADMIN = "admin"


@dataclass(frozen=True)
class Token:
    """A token without its secret.

    Attributes:
        id: 12 hexadecimal digits; records of what was done name it.
        name: what it is for.
        scopes: what it allows.
        made: ISO 8601.
        expires: ISO 8601; None if it does not.
        revoked: ISO 8601; None if it is not.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    made: str
    expires: str | None
    revoked: str | None

    def allows(self, scope: Scope) -> bool:
        """Return whether it has a scope, or one that includes it."""
        return scope is Scope.READ or scope in self.scopes or Scope.ADMIN in self.scopes

    def state(self, now: dt.datetime | None = None) -> str:
        """Return ``valid``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        moment = now or dt.datetime.now(dt.UTC)
        return "expired" if self.expires is not None and dt.datetime.fromisoformat(self.expires) <= moment else "valid"

    def to_dict(self) -> dict[str, Any]:
        """Return the token as plain values."""
        return {
            "id": self.id, "name": self.name, "scopes": [str(scope) for scope in self.scopes], "made": self.made,
            "expires": self.expires, "revoked": self.revoked, "state": self.state(),
        }  # fmt: skip


class Tokens:
    """The tokens in the service's database.

    Args:
        database: of the service.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def new(self, name: str, scopes: Iterable[str], days: float | None = None) -> tuple[Token, str]:
        """Make a token.

        Args:
            name: what it is for.
            scopes: what it allows.
            days: until it expires; None without an end.

        Returns:
            The token, and its text with the secret, which is shown this once and kept nowhere.

        Raises:
            UsageError: if name, scopes or days cannot be used.
        """
        if not name.strip() or len(name) > NAME or not name.isprintable():
            raise UsageError(f"a token needs a name of at most {NAME} printable characters")
        wanted = sorted({_scope(scope) for scope in scopes})
        if not wanted:
            raise UsageError(f"a token needs a scope: {', '.join(Scope)}")
        if days is not None and days <= 0:
            raise UsageError(f"a token that expires after {days} days is of no use; give more than 0")
        now, id_, secret = dt.datetime.now(dt.UTC), secrets.token_hex(6), secrets.token_hex(BITS // 8)
        expires = None if days is None else (now + dt.timedelta(days=days)).isoformat()
        values = {
            "id": id_, "name": name, "digest": _digest(secret), "scopes": [str(scope) for scope in wanted],
            "made": now.isoformat(), "expires": expires, "revoked": None,
        }  # fmt: skip
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.insert(tokens).values(**values))
        return Token(id_, name, tuple(wanted), now.isoformat(), expires, None), f"nz_{id_}_{secret}"

    def list(self) -> list[Token]:
        """Return all tokens, the oldest first."""
        with self._database.transaction() as connection:
            return [_of(row) for row in connection.execute(sa.select(tokens).order_by(tokens.c.made))]

    def revoke(self, id_: str) -> Token:
        """Revoke a token; from then on it is refused. One that is revoked already is left as it is.

        Returns:
            The token.

        Raises:
            UsageError: if there is none of that id.
        """
        with self._database.transaction(writes=True) as connection:
            now = dt.datetime.now(dt.UTC).isoformat()
            changed = sa.update(tokens).where(tokens.c.id == id_, tokens.c.revoked.is_(None)).values(revoked=now)
            connection.execute(changed)
            row = connection.execute(sa.select(tokens).where(tokens.c.id == id_)).first()
        if row is None:
            raise UsageError(f"there is no token {id_!r}; 'neuralyzer token list' shows them")
        return _of(row)

    def verified(self, text: str) -> Token | None:
        """Return the token that a text stands for, or None if it is none, expired or revoked."""
        form = FORM.fullmatch(text)
        if form is None:
            return None
        row = self._row(form[1])
        known = bytes(row.digest) if row is not None else bytes(hashlib.sha256().digest_size)
        same = hmac.compare_digest(known, _digest(form[2]))
        return _valid(row) if row is not None and same else None

    def still(self, id_: str) -> Token | None:
        """Return a token by its id as long as it is valid, for a session that was begun with it."""
        row = self._row(id_)
        return None if row is None else _valid(row)

    def _row(self, id_: str) -> sa.Row[Any] | None:
        with self._database.transaction() as connection:
            return connection.execute(sa.select(tokens).where(tokens.c.id == id_)).first()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(bytes.fromhex(secret)).digest()


def _scope(name: str) -> Scope:
    try:
        return Scope(name)
    except ValueError:
        raise UsageError(f"{name!r} is no scope; there are {', '.join(Scope)}") from None


def _valid(row: sa.Row[Any]) -> Token | None:
    token = _of(row)
    return token if token.state() == "valid" else None


def _of(row: sa.Row[Any]) -> Token:
    return Token(row.id, row.name, tuple(Scope(scope) for scope in row.scopes), row.made, row.expires, row.revoked)
