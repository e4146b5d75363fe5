"""The difference between rows and a registered version: another order, or rows added, removed or changed."""

from dataclasses import dataclass
from pathlib import Path

from neuralyzer.data.rows import Data
from neuralyzer.registry import lookups, manifests
from neuralyzer.workspace.paths import Workspace

# A row that has a given id is known by it; one whose id was only counted is known by its content alone.
BY_ID = """
SELECT count(*) FILTER (was.row_id IS NULL), count(*) FILTER (is_now.row_id IS NULL),
    count(*) FILTER (was.digest <> is_now.digest), count(*) FILTER (was.digest = is_now.digest AND was.subject <> is_now.subject)
FROM was FULL JOIN is_now ON was.row_id = is_now.row_id
"""
BY_CONTENT = """
SELECT coalesce(sum(greatest(more, 0)), 0), coalesce(sum(greatest(-more, 0)), 0), 0, 0 FROM (
    SELECT sum(sign) AS more
    FROM (SELECT digest, 1 AS sign FROM is_now UNION ALL SELECT digest, -1 FROM was) GROUP BY digest
)
"""


@dataclass(frozen=True)
class Difference:
    """The numbers of a version's rows that were added, removed, changed or moved.

    Attributes:
        added: rows that only the data has.
        removed: rows that only the version has.
        changed: rows with other content under the same id; always 0 where ids were only counted.
        moved: rows of the same content that belong to another subject now; 0 where ids were only counted.
    """

    added: int
    removed: int
    changed: int
    moved: int

    def __str__(self) -> str:
        """Return the difference in a few words."""
        counts = {
            "added": self.added, "removed": self.removed, "changed": self.changed, "given to another subject": self.moved,
        }  # fmt: skip
        parts = [f"{count:,} {'row' if count == 1 else 'rows'} {what}" for what, count in counts.items() if count]
        return ", ".join(parts) or "the same rows in another order"


def difference(workspace: Workspace | Path | str, digest: str, data: Data) -> Difference | None:
    """Compare rows with a registered version that has another digest.

    Args:
        workspace: where it is registered.
        digest: the version's.
        data: the rows as they are now.

    Returns:
        The difference; None where the version is not registered.

    Raises:
        UnreadableError: if its manifest is missing or truncated.
    """
    known = [version for version in manifests.datasets(workspace) if version.digest == digest]
    if not known:
        return None
    by_content = known[0].numbered or data.numbered
    counts = lookups.compared(known[0].manifest, data, BY_CONTENT if by_content else BY_ID)
    return Difference(*counts)
