"""The access log: how often the evaluation split was opened, by subject and model lineage, across cases."""

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from neuralyzer.errors import LooksSpentError
from neuralyzer.workspace import atomic, locks

MOST_ACCESSES = 2  # of a subject and lineage; docs/requests.md, "Evaluation accesses", has the error rates
FILE = "looks.json"  # in a pool's folder
KEYED = "keyed"  # field that marks files whose digests are keyed


@dataclass(frozen=True)
class AccessLog:
    """The access log of a pool; it names subjects by keyed digests alone, from which no name can be guessed.

    Attributes:
        path: of the file.
        key: returns the workspace's key of commitments; called only where there is something to count.
    """

    path: Path
    key: Callable[[], bytes]

    def count(self, lineage: str, subjects: Iterable[str]) -> int:
        """Return the largest number of accesses that any of the subjects has had."""
        counts = self._read().get(lineage, {})
        if not counts:
            return 0
        return max((counts.get(self._keyed(_plain(lineage, subject)), 0) for subject in subjects), default=0)

    def record(self, lineage: str, subjects: Iterable[str], case: str | None = None) -> int:
        """Record one more access, before it takes place.

        Args:
            lineage: of the model.
            subjects: whose rows are read.
            case: id of the case and attempt; after a kill, the same id is not counted twice.

        Returns:
            The access's number, 1 or 2.

        Raises:
            LooksSpentError: if there were two already.
        """
        with locks.held(self.path.with_suffix(".lock"), "counts an access to these references"):
            return self._record(lineage, list(subjects), case)

    def _record(self, lineage: str, subjects: list[str], case: str | None) -> int:
        content = self._read()
        cases = content.setdefault("takers", {})
        if case is not None and case in cases:
            return cases[case]
        number = self.count(lineage, subjects) + 1
        if number > MOST_ACCESSES:
            raise LooksSpentError(
                f"the evaluation split was opened {MOST_ACCESSES} times for these rows; only exact options remain"
            )
        counts = content.setdefault(lineage, {})
        for subject in subjects:
            counts[self._keyed(_plain(lineage, subject))] = number
        if case is not None:
            cases[case] = number
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
