"""``neuralyzer certificate``: checks a signed certificate, and runs its case again."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer, progress

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
Case = Annotated[str, typer.Argument(metavar="CERTIFICATE", help="The certificate's file, or the id of its case.")]
TrainReferences = Annotated[
    bool,
    typer.Option(
        "--train-references",
        help="Train the references again where their values of the rows were erased; it takes as long as at first.",
    ),
]

verbs = typer.Typer(help="Check a signed certificate, or run its case again.", rich_markup_mode=None)


@verbs.callback()
def _certificate() -> None:
    """Check a signed certificate, or run its case again."""


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


@verbs.command(epilog="Example: neuralyzer certificate reproduce case-0123456789ab")
def reproduce(
    certificate: Case,
    key: Key = None,
    train_references: TrainReferences = False,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Run a past case again and compare weights, verdict and each number with its certificate.

    It works in a temporary folder and changes nothing of the project. Exit 0: reproduced; 1: something differs; 2: it
    cannot be run again, and why.
    """
    from neuralyzer.cases.comparison import Conclusion
    from neuralyzer.project.project import Project
    from neuralyzer.project.reproducing import reproduce

    found = reproduce(Project.read(project), certificate, key, train_references, progress(json))
    answer(found.to_dict(), str(found), json)
    codes = {Conclusion.REPRODUCED: 0, Conclusion.DIFFERS: 1, Conclusion.CANNOT: 2}
    if codes[found.outcome]:
        raise typer.Exit(codes[found.outcome])
