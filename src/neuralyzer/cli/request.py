"""``neuralyzer request``: makes requests of the service, shows them, and decides about them, on its database."""

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuralyzer.cli.options import (
    PROJECT,
    AlsoNear,
    Class,
    Due,
    Json,
    Method,
    ProjectFile,
    Reason,
    Received,
    Row,
    Subject,
    Wanted,
    Where,
)
from neuralyzer.cli.options import request as erasure_of
from neuralyzer.cli.output import answer

if TYPE_CHECKING:
    from neuralyzer.service.request import Request
    from neuralyzer.service.requests import Requests

Priority = Annotated[int, typer.Option("--priority", min=0, max=9, help="Above 0 it has a run of its own, at once.")]
States = Annotated[list[str] | None, typer.Option("--state", help="Only those in this state; repeat for several.")]
Why = Annotated[str, typer.Option("--reason", help="Why; for the record and for the person who asked.")]

verbs = typer.Typer(help="Requests of the service.", rich_markup_mode=None)


@verbs.callback()
def _request() -> None:
    """Requests of the service."""


@verbs.command(epilog="Example: neuralyzer request new --subject AIFinn")
def new(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    also_near: AlsoNear = False,
    guarantee: Wanted = "weak",
    reason: Reason = "privacy",
    method: Method = None,
    received: Received = None,
    due: Due = None,
    priority: Priority = 0,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Make a request; a worker takes it up."""
    import datetime as dt

    from neuralyzer.errors import UsageError
    from neuralyzer.methods import catalogue
    from neuralyzer.service.opening import requests_of

    if method is not None and method not in catalogue.names():
        raise UsageError(f"there is no method {method!r}; 'neuralyzer methods' lists them")
    erasure = erasure_of(
        subject, row, class_, where, guarantee, reason, due=due, received=received, also_near=also_near
    )
    moment = None if received is None else dt.datetime.combine(dt.date.fromisoformat(received), dt.time(), dt.UTC)
    settings, requests = requests_of(project)
    made, _ = requests.create(
        settings.model, erasure, who(), received=moment, priority=priority, method=method
    )  # fmt: skip
    _show(made, json)


@verbs.command(name="list", epilog="Example: neuralyzer request list --state received")
def list_(state: States = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """List requests, the earliest due date first; who is named in them is not shown."""
    import datetime as dt

    from rich.table import Table

    from neuralyzer.errors import UsageError
    from neuralyzer.service.opening import requests_of
    from neuralyzer.service.states import State

    unknown = [one for one in state or () if one not in set(State)]
    if unknown:
        raise UsageError(f"{unknown[0]!r} is no state; there are {', '.join(State)}")
    found = requests_of(project)[1].find(None if state is None else [State(one) for one in state])
    today = dt.datetime.now(dt.UTC).date()
    table = Table(box=None, pad_edge=False)
    for head in ("request", "received", "due", "state", "case", "verdict"):
        table.add_column(head)
    for one in found:
        due = f"{one.due}, late" if one.late(today) else str(one.due)
        table.add_row(one.id, str(one.received)[:10], due, one.state, one.case or "-", one.verdict or "-")
    answer([_values(one) for one in found], table if found else "no requests", json)


@verbs.command(epilog="Example: neuralyzer request show req-0123456789abcdef")
def show(id: str, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Show a request and its events."""
    from neuralyzer.service.opening import requests_of

    requests = requests_of(project)[1]
    _show(requests.get(id), json, requests)


@verbs.command(epilog="Example: neuralyzer request approve req-0123456789abcdef --method influence")
def approve(id: str, method: Method = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Approve what comes next: unlearning where a plan waits, the release where a verdict waits."""
    from neuralyzer.service import decisions
    from neuralyzer.service.opening import requests_of

    _show(decisions.approve(requests_of(project)[1], id, who(), method), json)


@verbs.command(epilog="Example: neuralyzer request cancel req-0123456789abcdef --reason 'the person withdrew it'")
def cancel(id: str, reason: Why, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Cancel a request; one that a worker has is cancelled when the present stage is done."""
    _decide("cancel", id, reason, project, json)


@verbs.command(epilog="Example: neuralyzer request extend req-0123456789abcdef --reason 'many requests at once'")
def extend(id: str, reason: Why, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Extend the due date by two months, Art. 12(3) GDPR."""
    _decide("extend", id, reason, project, json)


@verbs.command(
    epilog="Example: neuralyzer request refuse req-0123456789abcdef --reason 'a legal duty to keep the data'"
)
def refuse(id: str, reason: Why, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Refuse a request, Art. 12(5) and 17(3) GDPR."""
    _decide("refuse", id, reason, project, json)


@verbs.command(epilog="Example: neuralyzer request again req-0123456789abcdef")
def again(id: str, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Take up a request again that waits for a person."""
    from neuralyzer.service import decisions
    from neuralyzer.service.opening import requests_of

    _show(decisions.again(requests_of(project)[1], id, who()), json)


def who() -> str:
    """Return the name under which this command's decisions are recorded."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name
        return "cli"


def _decide(verb: str, id_: str, reason: str, project: Path, json: bool) -> None:
    from neuralyzer.service import decisions
    from neuralyzer.service.opening import requests_of

    decide = {"cancel": decisions.cancel, "extend": decisions.extend, "refuse": decisions.refuse}[verb]
    _show(decide(requests_of(project)[1], id_, who(), reason), json)


def _values(request: "Request") -> dict[str, Any]:
    plain = ("id", "model", "priority", "case", "verdict", "method", "approved", "message", "extended", "client")
    return {name: getattr(request, name) for name in plain} | {
        "state": str(request.state), "received": request.received.isoformat(), "due": request.due.isoformat(),
    }  # fmt: skip


def _show(request: "Request", json: bool, requests: "Requests | None" = None) -> None:
    from rich.console import Group
    from rich.text import Text

    values = _values(request)
    lines = [Text(f"{name:<10}{value}") for name, value in values.items() if value not in (None, "")]
    if requests is not None:
        values["erasure"] = None if request.erasure is None else request.erasure.to_dict()
        told = list(requests.all_events(request.id))
        values["events"] = [{"moment": one.moment, "kind": one.kind, "facts": dict(one.facts)} for one in told]
        lines += [Text(f"{one.moment[:19]}  {one.kind}") for one in told]
    answer(values, Group(*lines), json)
