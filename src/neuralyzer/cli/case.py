"""``neuralyzer case``: follows a case of the service."""

import json as encoder
import sys
import time

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile

EVERY = 0.5  # seconds between two questions to the database

verbs = typer.Typer(help="Cases of the service.", rich_markup_mode=None)


@verbs.callback()
def _case() -> None:
    """Cases of the service."""


@verbs.command(epilog="Example: neuralyzer case watch req-0123456789abcdef")
def watch(id: str, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Print a request's events as they come, until it is closed; with --json one document a line."""
    from neuralyzer.service.opening import requests_of
    from neuralyzer.service.states import CLOSED

    requests, after = requests_of(project)[1], 0
    while True:
        state = requests.get(id).state  # before its events, so that none is missed
        for event in requests.all_events(id, after):
            after = event.number
            facts = dict(event.facts)
            told = {"number": after, "moment": event.moment, "kind": event.kind, "facts": facts}
            words = " ".join(f"{name}={value}" for name, value in facts.items())
            print(encoder.dumps(told) if json else f"{event.moment[:19]}  {event.kind}  {words}".rstrip())
        sys.stdout.flush()
        if state in CLOSED:
            return
        time.sleep(EVERY)
