"""``neuralyzer export``: copies the weights to deploy, with their certificate."""

from pathlib import Path
from typing import Annotated, Any

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer export --to release"
To = Annotated[Path, typer.Option("--to", help="Folder that the files are copied to; it may not hold them yet.")]
CaseOf = Annotated[str | None, typer.Option("--case", help="Which case's; by default the newest that has a verdict.")]
README = """\
These files are the weights of a model that was made to forget, and the certificate of it.

    pip install cryptography
    python verify.py .

checks them without Neuralyzer, which wrote them. To know whose they are, get the operator's public key and the keys of
the ledger by another way, and give them with --key and --ledger-keys.
"""


def run(to: To, case: CaseOf = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Copy a case's weights, certificate, public key, report and a verifier to a folder, ready to be handed over.

    Of a language model, the weights are the folder model/, which PEFT or transformers loads. 'python verify.py .' checks
    the folder without Neuralyzer.
    """
    import shutil
    import tempfile

    from neuralyzer.certificates.certify import public_key_beside
    from neuralyzer.certificates.check import check
    from neuralyzer.ledger import verifier
    from neuralyzer.project.standing import chosen, standing

    exported = chosen(standing(project), case)
    weights, certificate = Path(exported["weights"]), Path(exported["certificate"])
    result = check(certificate, weights)
    if not result.ok:
        raise UsageError(f"{exported['case']} cannot be handed over: {result.failures[0]}")
    folder = None if exported["folder"] is None else Path(exported["folder"])
    inside = {} if folder is None else {f"model/{path.name}": path for path in sorted(folder.iterdir())}
    files = (inside or {"weights.safetensors": weights}) | {
        "certificate.json": certificate,
        "certificate.pub.pem": public_key_beside(certificate), "report.html": certificate.with_name("report.html"),
        "verify.py": Path(verifier.__file__),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as made:
        more, note = _written(Path(made), project, result.predicate or {}, certificate)
        files |= more
        existing = [name for name in files if (to / name).exists()]
        if existing:
            raise UsageError(f"{to / existing[0]} exists already, and nothing is overwritten; name another folder")
        for name, path in files.items():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to / name)
    name, verdict = exported["case"], exported["verdict"]
    values = {"case": name, "verdict": verdict, "files": {file: str(to / file) for file in files}, "note": note}
    answer(values, f"{name} ({verdict}): wrote {', '.join(files)} to {to}" + (f"\n{note}" if note else ""), json)


def _written(
    folder: Path, project: Path, predicate: dict[str, Any], certificate: Path
) -> tuple[dict[str, Path], str | None]:
    """Write what is made for who gets the files: how to check them, and the newest proof from the ledger.

    Returns:
        The files by name, and why the proof is not among them.
    """
    from neuralyzer.certificates.ledger_record import LedgerRecord, proof_beside, write_later
    from neuralyzer.cli.ledger import opened
    from neuralyzer.errors import UsageError

    (folder / "README.txt").write_text(README)
    files = {"README.txt": folder / "README.txt"}
    if predicate.get("ledger") is None:
        return files, None
    try:
        ledger = opened(project, None)
    except UsageError as error:
        return files, f"left out the newest proof ({error}); the certificate has the one that it was issued with"
    proof = write_later(ledger, LedgerRecord(**predicate["ledger"]), folder / certificate.name)
    (folder / "ledger.keys").write_text("".join(f"{key}\n" for key in ledger.public_keys()))
    return files | {proof_beside(certificate).name: proof, "ledger.keys": folder / "ledger.keys"}, None
