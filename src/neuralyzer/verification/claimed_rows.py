"""A claimant's rows: whether the model can read them, and which of them are known already."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, UsageError
from neuralyzer.models.trained import TrainedModel
from neuralyzer.workspace import digests


def require_same_inputs(trained: Inputs, claimed: Inputs) -> None:
    """Refuse a claimant's inputs that have other names than the training rows'."""
    names, given = (sorted(x) if isinstance(x, dict) else ["one tensor"] for x in (trained, claimed))
    if names != given:
        raise UsageError(f"the claimant's rows have {', '.join(given)}; the training rows have {', '.join(names)}")


def unregistered(oracle: TrainedModel, rows: Data) -> tuple[Data, dict[str, Any]]:
    """Return the rows that no register holds, and the numbers of those that were left out."""
    contents = rows.value_digests
    registered = digests.known(contents, oracle.data.value_digests)
    subjects = np.unique(oracle.data.subjects[digests.known(oracle.data.value_digests, contents)])
    holdout = digests.known(contents, oracle.require_holdout().value_digests) & ~registered
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(contents, return_index=True)[1]] = True
    left = first & ~registered & ~holdout
    if not left.any():
        whose = f"{registered.sum()} stand in the training data ({_named(subjects.tolist())}; use --subject)"
        where = whose if registered.any() else "all stand in the holdout"
        raise ForgetSetError(f"none of the claimant's {len(rows)} rows is unknown: {where}")
    left_out = {
        "registered": int(registered.sum()), "subjects": tuple(str(name) for name in subjects),
        "holdout": int(holdout.sum()), "repeated": int((~first & ~registered & ~holdout).sum()),
    }  # fmt: skip
    return rows.select(left), left_out


def left_out_notes(registered: int, subjects: Sequence[str], holdout: int, repeated: int) -> tuple[str, ...]:
    """Return a sentence on each kind of rows that ``unregistered`` left out."""
    counts = {
        f"{registered} of these rows are in the training data, {_named(subjects)}: use --subject.": registered,
        f"{holdout} of these rows are in the holdout; they were left out.": holdout,
        f"{repeated} of these rows repeat another; they were left out.": repeated,
    }
    return tuple(note for note, count in counts.items() if count)


def _named(subjects: Sequence[str]) -> str:
    shown = ", ".join(subjects[:3]) + (f" and {len(subjects) - 3} more" if len(subjects) > 3 else "")
    return f"subject{'s' if len(subjects) > 1 else ''} {shown}"
