"""The balanced design: which subjects each member leaves out, so that every subject is left out equally often."""

from collections.abc import Sequence

import numpy as np

from neuralyzer.errors import ReferencesError
from neuralyzer.references.signal_values import Flags

FEWEST_NEVER = 6  # members of a split that must leave a subject out; fewer cannot estimate a spread (docs/trace.md)


def share_for(members: int) -> float:
    """Return the share of the subjects that each member of a split leaves out, so that 6 members lack each subject."""
    return max(FEWEST_NEVER / members, 0.094)


def leave_out(members: int, rows: np.ndarray, share: float, seed: int, fewest: int = FEWEST_NEVER) -> Flags:
    """Draw a balanced design for one split.

    Args:
        members: number of members, ``M``.
        rows: number of rows of each subject, ``(S,)``.
        share: of the members that leave a subject out.
        seed: of the draw.
        fewest: smallest number of members that must leave a subject out.

    Returns:
        Which member keeps which subject, ``(M, S)``: every subject is left out by the same number of members, and
        members lack nearly equally many rows.

    Raises:
        ReferencesError: if fewer than ``fewest`` members would leave a subject out, or all would.
    """
    count = round(share * members)
    if count < fewest or count > members - 2:
        raise ReferencesError(
            f"with {members} members a split and a share of {share:.2f}, {count} would leave a subject out; "
            f"it takes {fewest} to {members - 2}: use more references or another leave_out"
        )
    generator = np.random.default_rng(seed)
    keep = np.ones((members, len(rows)), dtype=bool)
    lacking = np.zeros(members)
    jitter = float(rows.mean())
    # Large subjects first: the small ones then even out how many rows members lack (decision 4).
    for subject in np.argsort(-rows + generator.uniform(0, 0.5, len(rows)), kind="stable"):
        out = np.argsort(lacking + generator.uniform(0, jitter, members), kind="stable")[:count]
        keep[out, subject] = False
        lacking[out] += rows[subject]
    _even_out(keep, rows, lacking)
    return keep


def require_rows(held: Sequence[int], subjects: int) -> None:
    """Refuse a design by which a member would be trained on no row.

    Args:
        held: number of rows of each member.
        subjects: number of subjects.

    Raises:
        ReferencesError: if a member holds no row.
    """
    if not all(held):
        raise ReferencesError(
            f"with {subjects} subjects some reference would hold no row; references need more subjects: leave out the "
            "column of subjects where each row may stand for itself"
        )


def _even_out(keep: Flags, rows: np.ndarray, lacking: np.ndarray) -> None:
    """Exchange subjects between the member that lacks most rows and the one that lacks fewest, while that helps.

    Members that hold equally many rows take equally many steps, and only those can be trained stacked (decision 4).
    """
    for _ in range(50 * len(keep)):
        most, least = int(lacking.argmax()), int(lacking.argmin())
        difference = lacking[most] - lacking[least]
        give = np.flatnonzero(~keep[most] & keep[least])
        take = np.flatnonzero(keep[most] & ~keep[least])
        if difference < 2 or not len(give) or not len(take):
            return
        moved = rows[give][:, None] - rows[take][None, :]
        best = np.unravel_index(np.abs(moved - difference / 2).argmin(), moved.shape)
        if not 0 < moved[best] < difference:
            return
        out, back = give[best[0]], take[best[1]]
        keep[[most, least], [out, out]] = [True, False]
        keep[[most, least], [back, back]] = [False, True]
        lacking[most] -= moved[best]
        lacking[least] += moved[best]
