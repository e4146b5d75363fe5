"""The checkpoints of a workspace's ledger: signed by its key, and kept as files."""

from collections.abc import Sequence
from pathlib import Path

from neuralyzer.errors import LedgerError, UnreadableError
from neuralyzer.ledger import notes
from neuralyzer.ledger.checkpoint import Checkpoint
from neuralyzer.ledger.notes import Key
from neuralyzer.workspace import signing_keys
from neuralyzer.workspace.atomic import write_bytes
from neuralyzer.workspace.paths import Workspace

COUNTERSIGNERS = "countersigners.txt"  # in the folder of keys: one key a line
SUFFIX = ".checkpoint"


def own_key(workspace: Workspace) -> Key:
    """Return the public key of a workspace's ledger; the ledger's name is made from it."""
    public = signing_keys.signing_key(workspace, signing_keys.LEDGER).public_key()
    return Key(f"neuralyzer.dev/ledger/{signing_keys.key_id(public)[:16]}", public)


def countersigners(workspace: Workspace) -> list[Key]:
    """Return the keys whose countersignatures count.

    Raises:
        LedgerError: if a line is no key of a countersigner.
    """
    path = workspace.keys / COUNTERSIGNERS
    return _keys(path) if path.exists() else []


def read_keys(path: Path) -> list[Key]:
    """Read keys, one a line; empty lines and those that begin with ``#`` are passed over.

    Returns:
        The keys.

    Raises:
        LedgerError: if a line is no key, or there is none.
        UnreadableError: if the file cannot be read.
    """
    found = _keys(path)
    if not found:
        raise LedgerError(f"{path} holds no key; it has the ledger's in its first line")
    return found


def _keys(path: Path) -> list[Key]:
    return [Key.parse(line) for line in text(path).splitlines() if line.strip() and not line.startswith("#")]


def sign(workspace: Workspace, size: int, root: bytes) -> Path:
    """Sign a size and root, and keep them.

    Returns:
        The file of the signed note; one that is there already stays as it is.
    """
    path = folder(workspace) / f"{size:012}-{root.hex()[:16]}{SUFFIX}"
    if not path.exists():
        key = signing_keys.signing_key(workspace, signing_keys.LEDGER)
        name = own_key(workspace).name
        write_bytes(path, notes.sign(Checkpoint(name, size, root).text, name, key).encode())
    return path


def kept(workspace: Workspace) -> list[Path]:
    """Return the files of all checkpoints that are kept, by size."""
    return sorted(folder(workspace).glob(f"*{SUFFIX}"))


def folder(workspace: Workspace) -> Path:
    """Return the folder of checkpoints."""
    return workspace.root / "checkpoints"


def read(path: Path, keys: Sequence[Key]) -> Checkpoint:
    """Read a checkpoint and verify its signature.

    Args:
        path: of the signed note.
        keys: of its ledger.

    Returns:
        The checkpoint.

    Raises:
        LedgerError: if this is no checkpoint that the ledger signed.
        UnreadableError: if it cannot be read.
    """
    try:
        content, signed = notes.verify(text(path), keys)
        checkpoint = Checkpoint.parse(content)
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from error
    if checkpoint.origin not in {signature.name for signature in signed}:
        raise LedgerError(f"{path} is not signed by the key of this ledger")
    return checkpoint


def text(path: Path) -> str:
    """Return a file's text.

    Raises:
        UnreadableError: if it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"cannot read {path}: {error}") from error
