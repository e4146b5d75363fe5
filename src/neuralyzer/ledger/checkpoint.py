"""Checkpoints: how many entries a ledger has, and their root, as a signed note (c2sp.org/tlog-checkpoint)."""

import base64
from dataclasses import dataclass

from neuralyzer.errors import LedgerError
from neuralyzer.ledger import notes, tree


@dataclass(frozen=True)
class Checkpoint:
    """A ledger at one size.

    Attributes:
        origin: names the ledger, and the key that signs its checkpoints.
        size: number of entries.
        root: of the tree over them.
    """

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Read a note's text; lines after the third are passed over.

        Returns:
            The checkpoint.

        Raises:
            LedgerError: if it is no checkpoint.
        """
        origin, size, root, *_ = [*text.split("\n"), "", "", ""]
        content = notes.decoded(root)
        plain = size.isascii() and size.isdigit() and str(int(size)) == size  # no second spelling of a number
        if not origin or not plain or len(content) != tree.SIZE:
            raise LedgerError("this is no checkpoint: it must give a name, a number of entries and their root")
        return cls(origin, int(size), content)
