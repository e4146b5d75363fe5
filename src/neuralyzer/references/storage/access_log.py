"""How often the evaluation split was opened, by subject and model lineage, across cases."""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neuralyzer.errors import LooksSpentError
from neuralyzer.workspace import atomic, locks

MOST_ACCESSES = 2
KEYED = "keyed"  # a mark of files whose digests have a key


@dataclass(frozen=True)
class AccessLog:
    """The count, kept beside the pool; subjects stand in it by keyed digests only, which nobody can guess names from.

    Attributes:
        path: of the file.
        key: gives the workspace's key of commitments; asked only where there is something to count.
    """

    path: Path
    key: Callable[[], bytes]

    def taken(self, lineage: str, subjects: Iterable[str]) -> int:
        """The most looks that any of the subjects has had."""
        counts = self._read().get(lineage, {})
        if not counts:
            return 0
        return max((counts.get(self._keyed(_plain(lineage, subject)), 0) for subject in subjects), default=0)

    def take(self, lineage: str, subjects: Iterable[str], taker: str | None = None) -> int:
        """Count one more look, before it is taken.

        Args:
            lineage: the model's.
            subjects: whose rows are looked at.
            taker: who looks; one that was killed and asks again does not pay twice.

        Returns:
            Its number, 1 or 2.

        Raises:
            LooksSpentError: if two were taken already.
        """
        with locks.held(self.path.with_suffix(".lock"), "counts a look at these references"):
            return self._take(lineage, list(subjects), taker)

    def _take(self, lineage: str, subjects: list[str], taker: str | None) -> int:
        content = self._read()
        takers = content.setdefault("takers", {})
        if taker is not None and taker in takers:
            return takers[taker]
        number = self.taken(lineage, subjects) + 1
        if number > MOST_ACCESSES:
            raise LooksSpentError(
                f"the evaluation split was opened {MOST_ACCESSES} times for these rows; only exact options remain"
            )
        counts = content.setdefault(lineage, {})
        for subject in subjects:
            counts[self._keyed(_plain(lineage, subject))] = number
        if taker is not None:
            takers[taker] = number
        atomic.write_json(self.path, content | {KEYED: {}})
        return number

    @cached_property
    def _secret(self) -> bytes:
        return self.key()

    def _keyed(self, plain: str) -> str:
        return hmac.digest(self._secret, plain.encode(), "sha256").hex()[:24]

    def _read(self) -> dict[str, dict[str, int]]:
        content: dict[str, dict[str, int]] = atomic.read_json(self.path) if self.path.exists() else {}
        if content and content.pop(KEYED, None) is None:  # version 0.1 wrote digests without a key
            content = {
                lineage: counts if lineage == "takers" else {self._keyed(plain): n for plain, n in counts.items()}
                for lineage, counts in content.items()
            }
        return content


def _plain(lineage: str, subject: str) -> str:
    return hashlib.sha256(f"{lineage}\0{subject}".encode()).hexdigest()[:24]
