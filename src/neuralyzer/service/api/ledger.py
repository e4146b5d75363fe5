"""``/v1/ledger``: the log of every event for those who check it from outside; it names nobody."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from neuralyzer.ledger import tree
from neuralyzer.ledger.log import Recorded
from neuralyzer.ledger.store import Entry
from neuralyzer.service.api import problems
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Reader
from neuralyzer.service.context import Here

LARGEST = 1 << 40  # entries
SIGNED: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

routes = APIRouter(prefix="/v1/ledger", tags=["ledger"], responses=problems.ANSWERS)
Place = Annotated[int, Query(ge=0, le=LARGEST)]


class EntryView(BaseModel):
    """An entry; ``content`` is what is hashed, the rest is read from it."""

    position: int
    event: str
    at: str
    facts: dict[str, str]
    content: str


class Consistency(BaseModel):
    """The proof that a ledger of ``later`` entries continues that of ``earlier`` ones, RFC 9162, section 2.1.4."""

    earlier: int
    later: int
    path: list[str]


@routes.get("/checkpoint", response_class=PlainTextResponse, responses=SIGNED)
def checkpoint(here: Here, token: Reader) -> PlainTextResponse:
    """Give the present size and root as a signed note (c2sp.org/tlog-checkpoint)."""
    return PlainTextResponse(here.project.ledger.checkpoint().read_text())


@routes.get("/entries")
def entries(
    here: Here, token: Reader, start: Place = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[EntryView]:
    """List entries from a position on."""
    return [_view(*one) for one in here.project.ledger.store.entries(start, start + limit)]


@routes.get("/proof")
def proof(here: Here, token: Reader, entry: Place) -> dict[str, Any]:
    """Prove that an entry is in the ledger, RFC 9162, section 2.1.3; 'neuralyzer ledger' and verifier check it."""
    ledger = here.project.ledger
    if entry >= len(ledger):
        raise Problem(404, "the ledger has no such entry")
    return ledger.proof(entry).to_dict()


@routes.get("/consistency")
def consistency(here: Here, token: Reader, earlier: Place, later: Place) -> Consistency:
    """Prove that nothing was changed between two sizes of the ledger."""
    ledger = here.project.ledger
    if later > len(ledger):
        raise Problem(404, "the ledger has not so many entries")
    if not 0 < earlier <= later:
        raise Problem(409, "the earlier size must be above 0, and not above the later one")
    path = tree.consistency_proof(earlier, later, ledger.store.hashes)
    return Consistency(earlier=earlier, later=later, path=[one.hex() for one in path])


def _view(position: int, content: bytes) -> EntryView:
    known = Recorded.of(position, Entry.parse(content))
    return EntryView(
        position=position, event=known.event, at=known.at, facts=known.facts, content=content.decode()
    )  # fmt: skip
