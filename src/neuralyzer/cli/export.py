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
    """Copy a case's weights, certificate, public key and report to a folder, ready to be handed over.

    Of a language model, the weights are the folder model/, which PEFT or transformers loads.
    """
    import shutil

    from neuralyzer.certificates.certify import public_key_beside
    from neuralyzer.certificates.check import check
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
    }  # fmt: skip
    existing = [name for name in files if (to / name).exists()]
    if existing:
        raise UsageError(f"{to / existing[0]} exists already, and nothing is overwritten; name another folder")
    for name, path in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to / name)
    name, verdict = exported["case"], exported["verdict"]
    values = {"case": name, "verdict": verdict, "files": {file: str(to / file) for file in files}}
    answer(values, f"{name} ({verdict}): wrote {', '.join(files)} to {to}", json)
