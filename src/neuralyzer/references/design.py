"""Which subjects each member leaves out: balanced, so that every subject is left out equally often."""

from collections.abc import Sequence

import numpy as np

from neuralyzer.errors import ReferencesError
from neuralyzer.references.signal_values import Flags

FEWEST_NEVER = 6  # members of a split that must have left a subject out


def share_for(members: int) -> float:
    """Share of the subjects that a member of a half of ``members`` leaves out: 6 members' worth each."""
    return max(FEWEST_NEVER / members, 0.094)


def leave_out(members: int, rows: np.ndarray, share: float, seed: int, fewest: int = FEWEST_NEVER) -> Flags:
    """A balanced design for one half.

    Args:
        members: how many, ``M``.
        rows: rows of each subject, ``(S,)``.
        share: of the members that leave a subject out.
        seed: of the draw.
        fewest: members that must leave a subject out.

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
    # Large subjects first: the small ones then even out what members lack.
    for subject in np.argsort(-rows + generator.uniform(0, 0.5, len(rows)), kind="stable"):
        out = np.argsort(lacking + generator.uniform(0, jitter, members), kind="stable")[:count]
        keep[out, subject] = False
        lacking[out] += rows[subject]
    _even_out(keep, rows, lacking)
    return keep


def require_rows(held: Sequence[int], subjects: int) -> None:
    """Refuse a design by which a member would be trained on nothing.

    Args:
        held: rows of each member.
        subjects: how many there are.

    Raises:
        ReferencesError: if one holds no row.
    """
    if not all(held):
        raise ReferencesError(
            f"with {subjects} subjects some reference would hold no row; references need more subjects: leave out the "
            "column of subjects where each row may stand for itself"
        )


def _even_out(keep: Flags, rows: np.ndarray, lacking: np.ndarray) -> None:
    """Exchange subjects between the member that lacks most rows and the one that lacks fewest, while that helps.

    Members that hold equally many rows take equally many steps, so that they can be trained stacked.
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
