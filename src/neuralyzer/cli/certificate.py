"""``neuralyzer certificate``: checks a signed certificate."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import Json
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer certificate verify certificate.json --weights weights.safetensors"
Weights = Annotated[
    Path | None, typer.Option("--weights", help="The weights file, or the folder with it, that it is about.")
]
Base = Annotated[
    Path | None, typer.Option("--base", help="The base of a language model; by default as the adapter has it.")
]
Key = Annotated[Path | None, typer.Option("--key", help="The operator's public key (PEM); by default the one beside.")]
LedgerKeys = Annotated[
    Path | None,
    typer.Option("--ledger-keys", help="File with the ledger's key, then those of countersigners, one a line."),
]

verbs = typer.Typer(help="Check a signed certificate.", rich_markup_mode=None)


@verbs.callback()
def _certificate() -> None:
    """Check a signed certificate."""


@verbs.command(name="verify", epilog=EXAMPLE)
def run(
    file: Path,
    weights: Weights = None,
    base: Base = None,
    key: Key = None,
    ledger_keys: LedgerKeys = None,
    json: Json = False,
) -> None:
    """Check signature, digests, weights, base and ledger; always prints what a certificate does not prove. Exit 1 if it fails."""
    from neuralyzer.certificates.check import check

    result = check(file, weights, key, base, ledger_keys)
    answer(result.to_dict(), result, json)
    if not result.ok:
        raise typer.Exit(1)
