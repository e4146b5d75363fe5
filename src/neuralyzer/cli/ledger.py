"""``neuralyzer ledger``: the log of every event, which nobody can change unseen."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

if TYPE_CHECKING:
    from neuralyzer.ledger.log import Ledger
    from neuralyzer.ledger.notes import Key

Database = Annotated[
    str | None, typer.Option("--database", help="URL of the ledger's database; by default a file in the workspace.")
]
Against = Annotated[
    list[Path] | None, typer.Option("--against", help="A checkpoint that was kept elsewhere; repeat for several.")
]
To = Annotated[
    list[str] | None, typer.Option("--to", metavar="FILE|URL", help="Where the checkpoint goes; repeat for several.")
]
Timestamp = Annotated[
    str | None, typer.Option("--timestamp", metavar="URL", help="A time-stamp authority (RFC 3161) that dates it.")
]
Checkpoint = Annotated[Path, typer.Argument(help="The file of a checkpoint.")]
PersonKey = Annotated[Path, typer.Option("--key", help="Your own private key (PEM); made on first use.")]
LedgerKey = Annotated[
    Path | None, typer.Option("--ledger-keys", help="File with the ledger's key; by default the workspace's.")
]
Name = Annotated[list[str], typer.Option("--subject", metavar="NAME", help="A data subject; repeat for several.")]
AuditorKey = Annotated[Path, typer.Option("--key", help="The auditor's secret key; made on first use.")]
Count = Annotated[int, typer.Option("--count", help="How many cases to choose.")]
Commitment = Annotated[
    str | None, typer.Option("--commitment", help="What the auditor published before the checkpoint; the key must fit.")
]
File = Annotated[Path, typer.Argument(help="The certificate.")]

verbs = typer.Typer(help="Check, sign and read the log of every event.", rich_markup_mode=None)


@verbs.callback()
def _ledger() -> None:
    """Check, sign and read the log of every event."""


@verbs.command(epilog="Example: neuralyzer ledger check --against kept.checkpoint")
def check(
    against: Against = None, database: Database = None, project: ProjectFile = PROJECT, json: Json = False
) -> None:
    """Name every entry that was changed, removed, reordered or cut off. Exit 1 if there is one.

    Checkpoints that were kept elsewhere find what somebody who may write here could hide.
    """
    from neuralyzer.ledger import kept_checkpoints

    ledger = opened(project, database)
    faults = ledger.check(against or [])
    count, size = len(kept_checkpoints.kept(ledger.workspace)) + len(against or []), len(ledger)
    values = {
        "ok": not faults, "size": size, "checkpoints": count,
        "faults": [{"first": fault.first, "last": fault.last, "what": fault.what} for fault in faults],
    }  # fmt: skip
    good = f"{size:,} entries fit their hashes and {count} checkpoints"
    answer(values, "\n".join(map(str, faults)) or good, json)
    if faults:
        raise typer.Exit(1)


@verbs.command(epilog="Example: neuralyzer ledger checkpoint --to kept.checkpoint")
def checkpoint(
    to: To = None,
    timestamp: Timestamp = None,
    database: Database = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Sign the present state of the ledger, keep it, and send it where the operator cannot replace it."""
    from neuralyzer.ledger import kept_checkpoints, publishing

    ledger = opened(project, database)
    path = ledger.checkpoint()
    known = kept_checkpoints.read(path, ledger.public_keys()[:1])
    sent = [publishing.publish(path, place) for place in to or ()]
    stamp = None if timestamp is None else str(publishing.time_stamp(path, timestamp))
    values = {
        "file": str(path), "size": known.size, "root": known.root.hex(), "sent": sent, "timestamp": stamp,
        "key": str(ledger.public_keys()[0]),
    }  # fmt: skip
    lines = [f"checkpoint of {known.size:,} entries: {path}", *sent, *([f"time-stamp: {stamp}"] if stamp else [])]
    answer(values, "\n".join([*lines, f"key of the ledger: {values['key']}"]), json)


@verbs.command(epilog="Example: neuralyzer ledger countersign kept.checkpoint --key my.pem")
def countersign(
    checkpoint: Checkpoint,
    key: PersonKey,
    ledger_keys: LedgerKey = None,
    database: Database = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Vouch with your own key that a checkpoint continues the last one that you countersigned.

    For a second person, who keeps the key and the checkpoint last countersigned, which lies beside it.
    """
    import time

    from neuralyzer.ledger import countersigning, kept_checkpoints
    from neuralyzer.workspace.atomic import write_bytes
    from neuralyzer.workspace.signing_keys import private_key

    ledger, own = opened(project, database), private_key(key)
    signer = _signer(ledger, ledger_keys)
    kept = countersigning.last_countersigned(key, signer)
    last, proof = None, list[bytes]()
    if kept.exists():
        last = kept_checkpoints.text(kept)
        earlier, now = kept_checkpoints.read(kept, [signer]), kept_checkpoints.read(checkpoint, [signer])
        if earlier.size <= now.size:
            proof = ledger.consistency(earlier, now)
    note = countersigning.countersign(kept_checkpoints.text(checkpoint), signer, own, int(time.time()), last, proof)
    write_bytes(checkpoint, note.encode())
    write_bytes(kept, note.encode())
    line = str(countersigning.countersigning_key(own))
    listed = ledger.workspace.keys / kept_checkpoints.COUNTERSIGNERS
    first = (
        f"the first checkpoint that you countersign; see that the key is the ledger's: {signer}\n"
        if last is None
        else ""
    )
    told = f"{first}{checkpoint}: countersigned by {line}\nthe operator lists this key in {listed}"
    answer({"file": str(checkpoint), "key": line, "first": last is None}, told, json)


@verbs.command(epilog="Example: neuralyzer ledger show --subject AIFinn")
def show(subject: Name, database: Database = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Show all entries about a subject; none once its key was erased."""
    from rich.table import Table

    from neuralyzer.data.request import ErasureRequest
    from neuralyzer.project.project import Project

    ledger = opened(project, database)
    names = Project.read(project).rows.known_by(ErasureRequest(subjects=subject)).subjects
    found = {entry.position: entry for name in names for entry in ledger.entries_about(name)}
    table = Table(box=None, pad_edge=False)
    for head in ("entry", "time", "event", "what is told"):
        table.add_column(head)
    for position, entry in sorted(found.items()):
        facts = ", ".join(f"{name} {value}" for name, value in entry.facts.items())
        table.add_row(f"{position:,}", entry.at, entry.event, facts)
    answer([found[position].to_dict() for position in sorted(found)], table if found else "no entries", json)


@verbs.command(epilog="Example: neuralyzer ledger prove certificate.json")
def prove(file: File, database: Database = None, project: ProjectFile = PROJECT, json: Json = False) -> None:
    """Write a newer proof of a certificate's entry beside it, by the checkpoint that most have countersigned."""
    from neuralyzer.certificates.check import check as check_certificate
    from neuralyzer.certificates.ledger_record import LedgerRecord, write_later
    from neuralyzer.errors import UsageError

    ledger, found = opened(project, database), check_certificate(file)
    if found.predicate is None or found.predicate["ledger"] is None:
        raise UsageError(f"{file} has no entry in a ledger")
    path = write_later(ledger, LedgerRecord(**found.predicate["ledger"]), file)
    answer({"file": str(path)}, f"wrote {path}", json)


@verbs.command(name="auditor-key", epilog="Example: neuralyzer ledger auditor-key --key auditor.key")
def auditor_key(key: AuditorKey, json: Json = False) -> None:
    """Make an auditor's key for spot checks, and print the commitment to publish before the next checkpoint."""
    import secrets

    from neuralyzer.ledger import spot_checks
    from neuralyzer.workspace.commitments import first_use

    first_use(key, lambda: secrets.token_bytes(spot_checks.BYTES))
    line = spot_checks.commitment(spot_checks.read_key(key))
    answer({"file": str(key), "commitment": line}, f"commitment: {line}", json)


@verbs.command(
    name="spot-check", epilog="Example: neuralyzer ledger spot-check kept.checkpoint --key auditor.key --count 3"
)
def spot_check(
    checkpoint: Checkpoint,
    key: AuditorKey,
    count: Count = 1,
    commitment: Commitment = None,
    database: Database = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Choose cases to run again by an auditor's key, so that the operator cannot steer which."""
    from neuralyzer.errors import UsageError
    from neuralyzer.ledger import kept_checkpoints, spot_checks

    ledger, secret = opened(project, database), spot_checks.read_key(key)
    committed = spot_checks.commitment(secret)
    if commitment not in (None, committed):
        raise UsageError(f"{key} is not the key that was committed to: its commitment is {committed}")
    known = kept_checkpoints.read(checkpoint, ledger.public_keys()[:1])
    chosen, among = spot_checks.choose(ledger, known, secret, count)
    values = {
        "commitment": committed, "among": among,
        "chosen": [{"case": one.case, "entry": one.entry.to_dict()} for one in chosen],
    }  # fmt: skip
    lines = [
        f"entry {one.entry.position:,}: "
        + (one.case or "cannot be run again: a key of its subjects was erased, or its folder is gone")
        for one in chosen
    ]
    answer(values, "\n".join([f"{len(chosen)} of {among} verdicts in {known.size:,} entries", *lines]), json)


def opened(project: Path, database: str | None) -> "Ledger":
    """Return the ledger of a project."""
    from neuralyzer.errors import UsageError
    from neuralyzer.ledger import kept_checkpoints
    from neuralyzer.ledger.log import FILE, Ledger
    from neuralyzer.project import project_file
    from neuralyzer.workspace.paths import Workspace

    project_file.read(project)
    place = Workspace(project.absolute().parent / project_file.FOLDER)
    if database is None and not (place.root / FILE).exists() and not kept_checkpoints.kept(place):
        raise UsageError(f"there is no ledger in {place.root} yet; 'neuralyzer forget' begins it")
    return Ledger.of(place, database)


def _signer(ledger: "Ledger", keys: Path | None) -> "Key":
    """Return the key that signs a ledger's checkpoints."""
    from neuralyzer.errors import UsageError
    from neuralyzer.ledger.kept_checkpoints import read_keys

    if keys is None:
        return ledger.public_keys()[0]
    found = read_keys(keys)
    if not found:
        raise UsageError(f"{keys} holds no key; it has the ledger's in its first line")
    return found[0]
