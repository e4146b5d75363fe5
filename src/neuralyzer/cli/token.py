"""``neuralyzer token``: makes, lists and revokes tokens of the service."""

from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

NEW = "Example: neuralyzer token new consent-platform --scope request --days 365"
LIST = "Example: neuralyzer token list"
REVOKE = "Example: neuralyzer token revoke 0123456789ab"
Scopes = Annotated[
    list[str],
    typer.Option("--scope", help="read, request, approve or admin; repeat for several. Each includes read."),
]
Days = Annotated[float | None, typer.Option("--days", help="Days until it expires; by default it does not.")]

verbs = typer.Typer(help="Tokens of the service.", rich_markup_mode=None)


@verbs.callback()
def _token() -> None:
    """Tokens of the service."""


@verbs.command(epilog=NEW)
def new(name: str, scope: Scopes, days: Days = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Make a token and print it, this once: the service keeps only a digest of it."""
    from neuralyzer.service.opening import tokens_of

    token, text = tokens_of(project).new(name, scope, days)
    answer(token.to_dict() | {"token": text}, text, json)


@verbs.command(name="list", epilog=LIST)
def list_(project: ProjectFile = PROJECT, json: Json = False) -> None:
    """List all tokens, without their secrets."""
    from rich.table import Table

    from neuralyzer.service.opening import tokens_of

    found = tokens_of(project).list()
    table = Table(box=None, pad_edge=False)
    for head in ("id", "name", "scopes", "made", "expires", "state"):
        table.add_column(head)
    for token in found:
        scopes = ", ".join(token.scopes)
        table.add_row(token.id, token.name, scopes, token.made[:10], (token.expires or "-")[:10], token.state())
    answer([token.to_dict() for token in found], table if found else "no tokens", json)


@verbs.command(epilog=REVOKE)
def revoke(id: str, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Revoke a token; the service refuses it from then on."""
    from neuralyzer.service.opening import tokens_of

    token = tokens_of(project).revoke(id)
    answer(token.to_dict(), f"revoked {token.id} ({token.name})", json)
