"""``neuralyzer ledger``: what people outside do with it, who countersign, date checkpoints and choose cases to run again."""

from pathlib import Path
from typing import Annotated

import typer

from neuralyzer.cli.ledger import Database, opened, verbs
from neuralyzer.cli.options import PROJECT, Json, ProjectFile
from neuralyzer.cli.output import answer

__all__ = ["verbs"]

Checkpoint = Annotated[Path, typer.Argument(help="The file of a checkpoint.")]
Earlier = Annotated[Path, typer.Argument(help="The file of an earlier checkpoint.")]
Later = Annotated[Path, typer.Argument(help="The file of a later one.")]
PersonKey = Annotated[Path, typer.Option("--key", help="Your own private key (PEM); made on first use.")]
LedgerKey = Annotated[
    Path | None, typer.Option("--ledger-keys", help="File with the ledger's key; by default the workspace's.")
]
ProofFile = Annotated[
    Path | None,
    typer.Option("--proof", help="What 'ledger consistency --json' printed, where you have no access to the ledger."),
]
Roots = Annotated[Path, typer.Option("--roots", help="Certificates of the authorities that you trust (PEM).")]
Stamp = Annotated[
    Path | None, typer.Option("--stamp", help="The time-stamp; by default the one beside the checkpoint.")
]
AuditorKey = Annotated[Path, typer.Option("--key", help="The auditor's secret key.")]
Count = Annotated[int, typer.Option("--count", help="How many cases to choose.")]
Commitment = Annotated[
    str | None, typer.Option("--commitment", help="What the auditor published before the checkpoint; the key must fit.")
]


@verbs.command(epilog="Example: neuralyzer ledger countersign kept.checkpoint --key my.pem")
def countersign(
    checkpoint: Checkpoint,
    key: PersonKey,
    ledger_keys: LedgerKey = None,
    proof: ProofFile = None,
    database: Database = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Vouch with your own key that a checkpoint continues the last one that you countersigned.

    For a second person, who keeps the key and the checkpoint last countersigned, which lies beside it. With --ledger-keys
    and --proof, they need no access to the ledger.
    """
    import time

    from neuralyzer.ledger import countersigning, kept_checkpoints
    from neuralyzer.workspace.atomic import write_bytes
    from neuralyzer.workspace.signing_keys import private_key

    own = private_key(key)
    signer = (
        opened(project, database).public_keys()[0]
        if ledger_keys is None
        else kept_checkpoints.read_keys(ledger_keys)[0]
    )
    kept = countersigning.last_countersigned(key, signer)
    last, path = None, list[bytes]()
    if kept.exists():
        last = kept_checkpoints.text(kept)
        earlier, now = kept_checkpoints.read(kept, [signer]), kept_checkpoints.read(checkpoint, [signer])
        if proof is not None:
            path = countersigning.read_path(proof)
        elif earlier.size < now.size:
            path = opened(project, database).consistency(earlier, now)
    note = countersigning.countersign(kept_checkpoints.text(checkpoint), signer, own, int(time.time()), last, path)
    write_bytes(checkpoint, note.encode())
    write_bytes(kept, note.encode())
    line = str(countersigning.countersigning_key(own))
    first = (
        f"the first checkpoint that you countersign; see that the key is the ledger's: {signer}\n"
        if last is None
        else ""
    )
    told = f"{first}{checkpoint}: countersigned by {line}\nthe operator lists this key in keys/{kept_checkpoints.COUNTERSIGNERS}"
    answer({"file": str(checkpoint), "key": line, "first": last is None}, told, json)


@verbs.command(epilog="Example: neuralyzer ledger consistency kept.checkpoint kept.checkpoint --json")
def consistency(
    earlier: Earlier, later: Later, database: Database = None, project: ProjectFile = PROJECT, json: Json = False
) -> None:
    """Prove that one checkpoint continues another: for a countersigner who has no access to the ledger."""
    from neuralyzer.ledger import kept_checkpoints

    ledger = opened(project, database)
    first, second = (kept_checkpoints.read(path, ledger.public_keys()[:1]) for path in (earlier, later))
    path = [one.hex() for one in ledger.consistency(first, second)]
    told = f"{second.size:,} entries continue {first.size:,}:"
    answer({"earlier": first.size, "later": second.size, "path": path}, "\n".join([told, *path]), json)


@verbs.command(epilog="Example: neuralyzer ledger dated kept.checkpoint --roots authorities.pem")
def dated(checkpoint: Checkpoint, roots: Roots, stamp: Stamp = None, json: Json = False) -> None:
    """Say when a checkpoint existed, by a time-stamp authority (RFC 3161) that you trust."""
    from neuralyzer.ledger import publishing

    moment = publishing.stamped_at(checkpoint, stamp or publishing.stamp_beside(checkpoint), roots).isoformat()
    answer({"file": str(checkpoint), "at": moment}, f"{checkpoint} existed at {moment}", json)


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
        "chosen": [{"case": one.case, "reproduce": one.command, "entry": one.entry.to_dict()} for one in chosen],
    }  # fmt: skip
    lines = [
        f"entry {one.entry.position:,}: "
        + (one.command or "cannot be run again: a key of its subjects was erased, or its folder is gone")
        for one in chosen
    ]
    answer(values, "\n".join([f"{len(chosen)} of {among} verdicts in {known.size:,} entries", *lines]), json)
