"""The check of a certificate: needs no workspace, and always says what the certificate does not prove."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from rich.console import Group, RenderableType
from rich.text import Text

from neuralyzer.certificates import dsse
from neuralyzer.certificates.certify import public_key_beside
from neuralyzer.certificates.ledger_record import check_record, read_later
from neuralyzer.certificates.statement import LIMITS, PAYLOAD_TYPE, Predicate, Statement
from neuralyzer.errors import CertificateError, LedgerError, UnreadableError
from neuralyzer.ledger.kept_checkpoints import read_keys
from neuralyzer.workspace import digests
from neuralyzer.workspace.atomic import read_json
from neuralyzer.workspace.signing_keys import key_id, read_public_key


@dataclass(frozen=True)
class Countersigned:
    """Someone who countersigned the ledger; ``time`` is in Unix seconds."""

    name: str
    time: int


@dataclass(frozen=True)
class Entered:
    """Where a verdict stands in a ledger.

    Attributes:
        ledger: its name.
        index: position of the entry.
        size: of the ledger by the checkpoint.
        at: when it was entered, by the operator's clock.
        countersigned: those who countersigned the checkpoint.
    """

    ledger: str
    index: int
    size: int
    at: str
    countersigned: list[Countersigned]

    def __str__(self) -> str:
        """Return it in one line."""
        many = f"countersigned by {len(self.countersigned)}" if self.countersigned else "countersigned by nobody"
        return f"Entry {self.index:,} of {self.size:,} in the ledger {self.ledger}, {self.at}; {many}"


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        ok: whether nothing failed.
        failures: what failed, in plain words.
        limits: what the certificate does not prove even if nothing failed.
        predicate: the certificate's content, once its signature is verified; else None.
        keyid: id of the public key by which it was checked; None where there was none.
        ledger: where the verdict stands in the operator's ledger; None where the certificate does not say.
    """

    ok: bool
    failures: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    predicate: dict[str, Any] | None = None
    keyid: str | None = None
    ledger: Entered | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as plain values."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        lines: list[RenderableType] = []
        if self.ok:
            lines.append(Text("✔ The certificate is intact and its signature fits.", style="bold green"))
        else:
            lines.append(Text("✘ The certificate FAILS its check:", style="bold red"))
            lines += [Text(f"  ✘ {failure}", style="red") for failure in self.failures]
        if self.predicate is not None:
            request, verification = self.predicate["request"], self.predicate["verification"]
            lines.append(Text(f"  Request {request['id']}: {verification['verdict']} (basis: {verification['basis']})"))
        if self.keyid is not None:
            lines.append(Text(f"  Key {self.keyid}", style="dim"))
        if self.ledger is not None:
            lines.append(Text(f"  {self.ledger}"))
        lines.append(Text("What it does not prove:", style="bold"))
        lines += [Text(f"  - {limit}") for limit in self.limits]
        return Group(*lines)


def check(
    path: Path,
    weights: Path | None = None,
    public_key: Path | None = None,
    base: Path | None = None,
    ledger_keys: Path | None = None,
) -> Check:
    """Check a certificate.

    Args:
        path: the certificate.
        weights: the weights file that it should be about, or the folder of a language model with it; not compared where
            None.
        public_key: the operator's public key in PEM, obtained from them by another channel. Without it the key beside
            the certificate is used, which shows that the file is intact but not who signed it.
        base: folder of the base that the weights stand on; by default the one that their configuration names.
        ledger_keys: file with the key of the operator's ledger, then those of its countersigners, one a line. Without
            it those in the certificate are used.

    Returns:
        What failed, if anything, and what the certificate does not prove.

    Raises:
        UnreadableError: if the certificate is missing, truncated or not JSON, or ``weights`` cannot be read.
        CertificateError: if ``public_key`` is no key.
    """
    envelope = read_json(path)
    failures: list[str] = []
    limits = list(LIMITS)
    key = _key(path, public_key, failures, limits)
    predicate = None if key is None else _verified(envelope, key, failures)
    if predicate is not None:
        limits += [limit for limit in predicate.limits if limit not in limits]
    if weights is None:
        limits.append("No weights file was given, so it was not checked that the model in use is the one certified.")
    else:
        found = _in_folder(weights)
        digest = digests.of_file(found)
        if predicate is None:
            failures.append(f"{weights} was not compared, since the content of the certificate cannot be trusted")
        elif digest != predicate.weights.unlearned:
            if _same_tensors(found, predicate):
                limits.append(f"{weights} is another file than the one certified, with the same tensors in it.")
            else:
                failures.append(
                    f"{weights} is not the file certified: its SHA-256 is {digest}, "
                    f"the certificate is about {predicate.weights.unlearned}"
                )
    if predicate is not None and (base is not None or predicate.weights.base is not None):
        _compare_base(weights, base, predicate.weights.base, failures, limits)
    entered = None if predicate is None else _in_ledger(path, predicate, ledger_keys, failures, limits)
    return Check(
        ok=not failures,
        failures=failures,
        limits=limits,
        predicate=None if predicate is None else predicate.model_dump(mode="json"),
        keyid=None if key is None else key_id(key),
        ledger=entered,
    )


def _in_ledger(
    path: Path, predicate: Predicate, given: Path | None, failures: list[str], limits: list[str]
) -> Entered | None:
    """Return where the verdict stands in the ledger; add what is wrong, or whose word it is."""
    record = predicate.ledger
    if record is None:
        if given is not None:
            failures.append("it has no proof that the verdict is in a ledger")
        return None
    keys = None if given is None else read_keys(given)
    wanted = predicate.weights.unlearned, predicate.verification.verdict
    try:
        proven = check_record(record, *wanted, keys)
        later = read_later(path, record)
        if later is not None:
            proven, record = check_record(later, *wanted, keys), later
    except (LedgerError, UnreadableError) as error:
        failures.append(f"its entry in the ledger: {error}")
        return None
    if keys is None:
        limits.append(
            "The keys of ledger and countersigners were taken from the certificate: this shows that the proof is intact, "
            "not whose they are. Compare them with those that are published, by --ledger-keys."
        )
    if not proven.countersigned:
        limits.append(
            "Nobody countersigned the ledger: it shows what the operator entered, not that there is no other."
        )
    origin = record.checkpoint.partition("\n")[0]
    signers = [Countersigned(one.name, one.time or 0) for one in proven.countersigned]
    return Entered(origin, record.index, record.size, proven.at, signers)


def _in_folder(weights: Path) -> Path:
    """Return the file of weights in the folder of a language model; a file as it is."""
    if not weights.is_dir():
        return weights
    from neuralyzer.models.kinds import model_folders  # here, since it imports torch, and is seldom needed

    return model_folders.file_of(weights)


def _compare_base(
    weights: Path | None, base: Path | None, certified: str | None, failures: list[str], limits: list[str]
) -> None:
    """Compare the base with the one that the certificate names; add what is wrong, or was not compared."""
    from neuralyzer.models.kinds import bases, model_folders

    folder = base or (None if weights is None else model_folders.base_in(weights))
    if certified is None:
        failures.append(f"{folder} was not compared: the certificate names no base")
    elif folder is None:
        limits.append(f"No base was given, so it was not compared with the certified one (SHA-256 {certified}).")
    elif (digest := bases.digest_of(folder)) != certified:
        failures.append(
            f"{folder} is not the base certified: its SHA-256 is {digest}, the certificate names {certified}"
        )


def _same_tensors(weights: Path, predicate: Predicate) -> bool:
    """Return whether another file holds the certified tensors."""
    from neuralyzer.models.weights import tensors_digest  # here, since it imports torch, and is seldom needed

    return tensors_digest(weights) in {predicate.weights.unlearned, predicate.weights.tensors} - {None}


def _key(path: Path, given: Path | None, failures: list[str], limits: list[str]) -> Ed25519PublicKey | None:
    if given is not None:
        return read_public_key(given)
    own_key = public_key_beside(path)
    if not own_key.exists():
        failures.append(f"there is no public key to check with: {own_key} does not exist and none was given")
        return None
    try:
        key = read_public_key(own_key)
    except CertificateError as error:
        failures.append(str(error))
        return None
    limits.append(
        "The key was taken from beside the certificate: this shows that the file is intact, not who signed it. "
        f"Compare the key's id {key_id(key)} with the one that the operator publishes."
    )
    return key


def _verified(envelope: object, key: Ed25519PublicKey, failures: list[str]) -> Predicate | None:
    """Return the predicate, parsed from verified bytes alone; add what is wrong to ``failures``."""
    if not isinstance(envelope, Mapping):
        failures.append("this is no DSSE envelope: it is JSON, but no object")
        return None
    try:
        payload = dsse.verify(envelope, [key])
        if envelope["payloadType"] != PAYLOAD_TYPE:
            failures.append(f"its payloadType is {envelope['payloadType']!r}, not {PAYLOAD_TYPE}")
            return None
        statement = Statement.from_bytes(payload)
    except CertificateError as error:
        failures.append(str(error))
        return None
    predicate = statement.predicate
    if predicate.protocol.recomputed() != predicate.protocol.digest:
        failures.append("the protocol is not the one declared before unlearning: its fields do not give its digest")
    if statement.subject[0].digest.sha256 != predicate.weights.unlearned:
        failures.append("it contradicts itself: the file it is about is not the one it calls the unlearned weights")
    return predicate
