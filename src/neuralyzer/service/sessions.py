"""Sessions of the dashboard: signed cookies that carry a token's id, never its secret."""

import hmac
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import sqlalchemy as sa

from neuralyzer.service.tables import ended
from neuralyzer.workspace import commitments
from neuralyzer.workspace.database import Database
from neuralyzer.workspace.paths import Workspace

FILE = "sessions.key"  # in the workspace's folder of keys
BYTES = 32  # of the key
IDLE = 3600.0  # seconds after its last renewal when a session ends
LONGEST = 12 * 3600.0  # seconds after which it ends in any case
FORM = re.compile(r"((?:[0-9a-f]{2}){1,400})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Session:
    """A session.

    Attributes:
        id: random, 32 hexadecimal digits.
        token: id of the token that it was begun with; empty before anybody has signed in.
        begun: seconds since 1970.
        until: when it ends unless it is renewed, seconds since 1970.
    """

    id: str
    token: str
    begun: float
    until: float


class Sessions:
    """The sessions of a service. All that is kept are those that were ended before their time, for all its servers.

    Args:
        workspace: has the key that signs them, made on first use.
        database: of the service.
    """

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self._workspace, self._database = workspace, database

    def begin(self, token: str = "", now: float | None = None) -> tuple[Session, str]:
        """Begin a session.

        Args:
            token: id of a token; empty for who has not signed in.
            now: seconds since 1970.

        Returns:
            The session, and the cookie's text.
        """
        now = time.time() if now is None else now
        session = Session(secrets.token_hex(16), token, now, now + IDLE)
        return session, self._signed(session)

    def read(self, text: str, now: float | None = None) -> Session | None:
        """Return the session of a cookie; None if it is none, changed, over, or was ended."""
        form = FORM.fullmatch(text)
        if form is None or not hmac.compare_digest(form[2], self._mac("session", form[1])):
            return None
        session = Session(**json.loads(bytes.fromhex(form[1])))
        over = session.until <= (time.time() if now is None else now)
        return None if over or self._is_ended(session) else session

    def renewed(self, session: Session, now: float | None = None) -> str | None:
        """Return the text of a new cookie for a session that is used; None while the old one is still young."""
        now = time.time() if now is None else now
        until = min(now + IDLE, session.begun + LONGEST)
        return self._signed(replace(session, until=until)) if until - session.until > IDLE / 12 else None

    def end(self, session: Session, now: float | None = None) -> None:
        """End a session before its time; a browser is told to forget its cookie besides."""
        now = time.time() if now is None else now
        with self._database.transaction(writes=True) as connection:
            connection.execute(sa.delete(ended).where(sa.or_(ended.c.until <= now, ended.c.session == session.id)))
            connection.execute(sa.insert(ended).values(session=session.id, until=session.begun + LONGEST))

    def _is_ended(self, session: Session) -> bool:
        with self._database.transaction() as connection:
            return connection.execute(sa.select(ended.c.until).where(ended.c.session == session.id)).first() is not None

    def guard_of(self, session: Session) -> str:
        """Return the text that every form of a session must bring back, which other sites cannot know."""
        return self._mac("form", session.id)

    def guards(self, session: Session, given: str) -> bool:
        """Return whether a form brought the text of its session."""
        return hmac.compare_digest(given.encode(), self.guard_of(session).encode())

    def _signed(self, session: Session) -> str:
        content = json.dumps(asdict(session)).encode().hex()
        return f"{content}.{self._mac('session', content)}"

    def _mac(self, purpose: str, content: str) -> str:
        return hmac.digest(self._key, f"{purpose}:{content}".encode(), "sha256").hex()

    @cached_property
    def _key(self) -> bytes:
        return commitments.first_use(self._workspace.keys / FILE, lambda: secrets.token_bytes(BYTES))
