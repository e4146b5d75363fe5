"""How often the judging half was opened, by subject and model lineage, across cases."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from neuralyzer.errors import LooksSpentError
from neuralyzer.workspace import atomic

MOST_LOOKS = 2


@dataclass(frozen=True)
class Looks:
    """The count, kept beside the pool; subjects stand in it by digest only."""

    path: Path

    def taken(self, lineage: str, subjects: Iterable[str]) -> int:
        """The most looks that any of the subjects has had."""
        counts = self._read().get(lineage, {})
        return max((counts.get(_key(lineage, subject), 0) for subject in subjects), default=0)

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
        subjects, content = list(subjects), self._read()
        takers = content.setdefault("takers", {})
        if taker is not None and taker in takers:
            return takers[taker]
        number = self.taken(lineage, subjects) + 1
        if number > MOST_LOOKS:
            raise LooksSpentError(
                f"the judging half was opened {MOST_LOOKS} times for these rows; only exact options remain"
            )
        counts = content.setdefault(lineage, {})
        for subject in subjects:
            counts[_key(lineage, subject)] = number
        if taker is not None:
            takers[taker] = number
        atomic.write_json(self.path, content)
        return number

    def _read(self) -> dict[str, dict[str, int]]:
        content: dict[str, dict[str, int]] = atomic.read_json(self.path) if self.path.exists() else {}
        return content


def _key(lineage: str, subject: str) -> str:
    return hashlib.sha256(f"{lineage}\0{subject}".encode()).hexdigest()[:24]
