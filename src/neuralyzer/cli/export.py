"""``neuralyzer export``: copies the weights to deploy, with their certificate."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer
from neuralyzer.errors import UsageError

EXAMPLE = "Example: neuralyzer export --to release"
To = Annotated[Path, typer.Option("--to", help="Folder that the files are copied to; it may not hold them yet.")]
CaseOf = Annotated[str | None, typer.Option("--case", help="Which case's; by default the newest that has a verdict.")]


def run(to: To, case: CaseOf = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Copy a case's weights, certificate, public key and report to a folder, ready to be handed over."""
    import shutil

    from neuralyzer.certificates.certify import public_key_beside
    from neuralyzer.certificates.check import check
    from neuralyzer.cli.standing import chosen, standing

    own = chosen(standing(project), case)
    weights, certificate = Path(own["weights"]), Path(own["certificate"])
    found = check(certificate, weights)
    if not found.ok:
        raise UsageError(f"{own['case']} cannot be handed over: {found.failures[0]}")
    files = {
        "weights.safetensors": weights, "certificate.json": certificate,
        "certificate.pub.pem": public_key_beside(certificate), "report.html": certificate.with_name("report.html"),
    }  # fmt: skip
    there = [name for name in files if (to / name).exists()]
    if there:
        raise UsageError(f"{to / there[0]} exists already, and nothing is overwritten; name another folder")
    to.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        shutil.copyfile(path, to / name)
    values = {"case": own["case"], "verdict": own["verdict"], "files": {name: str(to / name) for name in files}}
    said = f"{own['case']} ({own['verdict']}): wrote {', '.join(files)} to {to}"
    answer(values, said, json)
