"""Models with their versions, the ledger with its check, and the settings."""

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.engine import make_url

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import kept_checkpoints
from neuralyzer.ledger.log import Ledger, Recorded
from neuralyzer.ledger.proof import countersignatures
from neuralyzer.ledger.store import Entry
from neuralyzer.project import retention
from neuralyzer.project.lineage import Lineage, Version
from neuralyzer.service.api.models import datasets
from neuralyzer.service.context import Here
from neuralyzer.service.pages import jobs, shell
from neuralyzer.service.pages.fields import Form
from neuralyzer.service.tokens import Scope
from neuralyzer.service.workers import SILENCE, Workers

routes = APIRouter(route_class=shell.PageRoute, include_in_schema=False)
ENTRIES = 20  # of the ledger that a page shows
FAULTS = 100  # that a page shows


@routes.get("/models")
def models(here: Here, visitor: shell.Reading) -> Response:
    """Show the model's versions, what was erased from each, and what is destroyed when."""
    place = here.settings.workspace
    lineage = Lineage.read(place)
    kept = retention.kept(place)
    rows = [_version(version, lineage) for version in reversed(lineage.versions)]
    return shell.show(
        here, "models", visitor, at="models", rows=rows, current=lineage.current, kept=kept, term=here.settings.retention_days,
        datasets=datasets(here, visitor.token),
    )  # fmt: skip


@routes.get("/ledger")
def ledger(request: Request, here: Here, visitor: shell.Reading) -> Response:
    """Show the ledger's size, its last checkpoint, its newest entries, and the last check."""
    log = here.project.ledger
    size = len(log)
    entries = [_entry(position, content) for position, content in log.store.entries(max(0, size - ENTRIES))]
    last = jobs.of(request, "check").last
    return shell.show(
        here, "ledger", visitor, at="ledger", size=size, entries=entries[::-1], checkpoint=_checkpoint(log), check=last,
        took=None if last is None or last.ended is None else last.ended - last.began, most=FAULTS,
    )  # fmt: skip


@routes.post("/ledger")
def check(request: Request, here: Here, visitor: shell.Reading, form: Form) -> Response:
    """Begin the check of the whole ledger."""
    log = here.project.ledger

    def checked() -> dict[str, Any]:
        faults = [str(fault) for fault in log.check()]
        return {"size": len(log), "faults": faults}

    jobs.of(request, "check").start(visitor.token.id, checked, "check of the ledger")
    return shell.away("/ledger")


@routes.get("/settings")
def settings(here: Here, visitor: shell.Reading) -> Response:
    """Show the settings; they are changed in the project file, by who may write it."""
    own, policy = here.settings, here.project.policy
    shown = {
        "Model": own.model, "Database": make_url(own.database).get_backend_name(), "Approval": own.approve,
        "Requests may wait for others": f"{own.batch_days:g} days",
        "Earlier versions are kept": "without an end" if own.retention_days is None else f"{own.retention_days:g} days",
        "Error rate of a verdict": f"{policy.alpha:g}", "Largest detectable trace": f"{policy.max_trace:g}",
        "Utility that may be lost": "as the objective has it" if policy.max_utility_loss is None else f"{policy.max_utility_loss:g}",
        "Identities of OpenDSR": ", ".join(own.identities), "Callbacks go to": ", ".join(own.callback_hosts) or "nowhere",
        "Requests a minute of a token": f"{own.rate:,}", "Bytes of a body": f"{own.largest_body:,}",
    }  # fmt: skip
    workers = Workers(here.requests.database).alive()
    tokens = here.tokens.list() if visitor.may(Scope.ADMIN) else None
    return shell.show(
        here, "settings", visitor, at="settings", shown=shown, workers=workers, silence=SILENCE, tokens=tokens
    )


def _version(version: Version, lineage: Lineage) -> dict[str, Any]:
    """Return what is shown of a version: rows and cases that it has answered beyond the one before."""
    before = lineage.versions[version.number - 1] if version.number else Version()
    return {
        "number": version.number, "current": version.number == lineage.current, "released": version.released,
        "withdrawn": version.withdrawn, "destroyed": version.destroyed,
        "rows": len(set(version.erased) - set(before.erased)), "erased": len(version.erased),
        "cases": sorted(set(version.cases.values()) - set(before.cases.values())),
    }  # fmt: skip


def _entry(position: int, content: bytes) -> Recorded:
    """Return an entry; one that was changed so that it tells nothing is shown as that, since the check names it."""
    try:
        return Recorded.of(position, Entry.parse(content))
    except (LedgerError, ValueError):
        return Recorded(position, "", "cannot be read", "", {})


def _checkpoint(log: Ledger) -> dict[str, Any] | None:
    """Return the newest checkpoint that is kept, how many have countersigned it, and what is wrong with it."""
    kept = kept_checkpoints.kept(log.workspace)
    if not kept:
        return None
    own, *others = log.public_keys()
    try:
        known = kept_checkpoints.read(kept[-1], [own])
        countersigned = len(countersignatures(kept[-1].read_text(), own, others))
    except LedgerError:
        return {"wrong": f"{kept[-1].name} was changed: it is not signed by the ledger's key"}
    return {
        "wrong": "", "size": known.size, "root": known.root.hex(), "countersigned": countersigned, "may": len(others),
    }  # fmt: skip
