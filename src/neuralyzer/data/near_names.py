"""Similar names: two spellings that may be one person are reported, never merged."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from neuralyzer.data import texts

PLAIN = re.compile(r"[a-z1-9._@:+-]*")  # names that equal their folded form
ZEROS = re.compile(r"(?<!\d)0+(?=\d)")  # leading zeros of a number
SHOWN = 3  # names in a suggestion
MOST = 100_000  # names up to which misspelt ones are searched for


def folded(name: str) -> str:
    """Return a name without differences of spelling: Unicode form, letter case, blanks, leading zeros."""
    if PLAIN.fullmatch(name):
        return name
    text = unicodedata.normalize("NFKC", name).casefold()
    kept = "".join(mark for mark in text if not mark.isspace() and unicodedata.category(mark) != "Cf")
    return ZEROS.sub("", unicodedata.normalize("NFKC", kept))


def nearest(name: str, subjects: np.ndarray) -> list[tuple[str, int]]:
    """Return the names that are most similar to an unknown one.

    Args:
        name: the unknown name.
        subjects: of each row, ``(N,)``.

    Returns:
        At most three names and the number of rows of each; those that differ only in spelling first.
    """
    known, place = texts.coded(subjects[~np.strings.startswith(subjects, "row:")])
    counts = np.bincount(place, minlength=len(known))
    fold = folded(name)
    alike = [other for other in known if folded(other) == fold]
    if len(known) <= MOST:
        alike += [other for other in difflib.get_close_matches(name, known, SHOWN) if other not in alike]
    rows = dict(zip(known, counts.tolist(), strict=True))
    return [(other, rows[other]) for other in alike[:SHOWN]]


def suggestion(name: str, near: Sequence[tuple[str, int]]) -> str:
    """Return what to say of names that are similar to an unknown one; empty where there are none."""
    listed = ", ".join(f"{other!r} ({count:,} {'row' if count == 1 else 'rows'})" for other, count in near)
    return f"the nearest to {name!r}: {listed}" if listed else ""
