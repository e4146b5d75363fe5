"""Requests to erase: the subjects or rows, the guarantee, and the due date."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from neuralyzer.data import near_copies
from neuralyzer.data.layout import keyed
from neuralyzer.data.near_names import nearest, suggestion
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, UnknownSubjectError, UsageError


class Guarantee(StrEnum):
    """The promise of an algorithm's class (Xu et al. 2023, arXiv 2306.03558; ``clean`` is ours)."""

    EXACT = "exact"
    CLEAN = "clean"
    CERTIFIED = "certified"
    STRONG = "strong"
    WEAK = "weak"

    @property
    def strength(self) -> int:
        """Return the rank of the guarantee; higher is stronger."""
        return len(Guarantee) - list(Guarantee).index(self)

    def satisfies(self, wanted: "Guarantee") -> bool:
        """Return whether this guarantee is at least as strong as the one wanted."""
        return self.strength >= wanted.strength


@dataclass(frozen=True)
class ErasureRequest:
    """A request to make a model forget some rows: which ones, why, how strongly and by when.

    Attributes:
        subjects: names of data subjects, all of whose rows are to be forgotten.
        rows: ids of single rows.
        classes: labels, all of whose rows are to be forgotten.
        where: a predicate over the data's columns in SQL, such as ``age < 18``.
        guarantee: the weakest guarantee that is enough.
        reason: ``privacy``, ``bias``, ``stale`` or ``poison``, or a word of the user.
        budget: seconds that the first choice may take; None without a limit.
        due: the due date, ISO 8601.
        decided_by: who decided on the request.
        received: the day on which the request was received, ISO 8601; None for the day on which its case is opened. It
            is no part of the case's id.
        also_near: whether other subjects' rows that nearly copy a requested row are requested as well
            (``data.near_copies``); for rows of tokens.
    """

    subjects: Sequence[str] = ()
    rows: Sequence[str] = ()
    classes: Sequence[str] = ()
    where: str | None = None
    guarantee: Guarantee | str = Guarantee.WEAK
    reason: str = "privacy"
    budget: float | None = None
    due: str | None = None
    decided_by: str | None = None
    received: str | None = None
    also_near: bool = False

    def __post_init__(self) -> None:
        for name in ("subjects", "rows", "classes"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise UsageError(f"{name} takes a list, such as [{value!r}]")
            object.__setattr__(self, name, tuple(str(entry) for entry in value))
            for entry in getattr(self, name):
                try:
                    entry.encode()
                except UnicodeEncodeError:
                    raise UsageError(f"{name}: {entry!r} is not UTF-8; write it in UTF-8") from None
        if not (self.subjects or self.rows or self.classes or self.where):
            raise UsageError("a request names subjects, rows, classes or a predicate; this one names none")
        try:
            object.__setattr__(self, "guarantee", Guarantee(self.guarantee))
        except ValueError:
            raise UsageError(f"guarantee {self.guarantee!r} is none of {', '.join(Guarantee)}") from None
        if self.budget is not None and self.budget <= 0:
            raise UsageError(f"budget is {self.budget} seconds; it must be above 0")
        days = {name: _day(name, getattr(self, name)) for name in ("received", "due")}
        received, due, today = days["received"], days["due"], dt.datetime.now().astimezone().date()
        if received is not None and received > today:
            raise UsageError(f"received {received} has not come yet; today is {today}")
        if received is not None and due is not None and due < received:
            raise UsageError(f"due {due} lies before received {received}")

    @property
    def names(self) -> list[str]:
        """Return all that the request names, for the commitment to it."""
        return [*self.subjects, *self.rows, *self.classes, *([self.where] if self.where else [])]

    def positions(self, data: Data) -> np.ndarray:
        """Return the positions of the requested rows in ``data``; looked up once and used by every later stage.

        Args:
            data: the training rows, ``N`` of them.

        Returns:
            Sorted positions ``(F,)``, ``0 < F < N``.

        Raises:
            UnknownSubjectError: if a subject, row or class is not in the data.
            ForgetSetError: if the forget set is empty or all the data.
            UsageError: if near copies are requested too, and cannot be found in such data.
        """
        key = (self.subjects, self.rows, self.classes, self.where, self.also_near)
        if key not in data.resolved:
            data.resolved[key] = self._with_near_copies(data) if self.also_near else self._find_positions(data)
        return data.resolved[key].copy()

    def nearly_copied(self, data: Data) -> list[near_copies.Pair]:
        """Return which rows of ``data`` nearly copy a requested one, besides those that the request names itself."""
        return near_copies.others(data, replace(self, also_near=False).positions(data))

    def _with_near_copies(self, data: Data) -> np.ndarray:
        if not near_copies.searchable(data):
            raise UsageError(
                "near copies can be added to a request where rows are tokens, and the extra language is installed"
            )
        named = replace(self, also_near=False).positions(data)
        positions = np.union1d(named, [pair.other for pair in near_copies.others(data, named)]).astype(np.int64)
        if len(positions) == len(data):
            raise ForgetSetError("with near copies the forget set is all the data; delete the model instead")
        return positions

    def _find_positions(self, data: Data) -> np.ndarray:
        chosen = np.zeros(len(data), dtype=bool)
        for what, wanted, column in (
            ("subject", self.subjects, data.subjects),
            ("row", self.rows, data.ids),
            ("class", self.classes, data.labels if self.classes else None),
        ):
            if not wanted:
                continue
            assert column is not None
            held = np.isin(column, list(wanted))
            missing = sorted(set(wanted) - set(column[held].tolist()))
            if missing:
                more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
                near = suggestion(missing[0], nearest(missing[0], column)) if what == "subject" else ""
                raise UnknownSubjectError(
                    f"no row of the data has {what} {', '.join(map(repr, missing[:3]))}{more}; {near or 'check the name'}"
                )
            chosen |= held
        if self.where:
            chosen[data.where(self.where)] = True
        if not chosen.any():
            raise ForgetSetError(f"the forget set is empty: no row satisfies {self.where!r}")
        if chosen.all():
            raise ForgetSetError("the forget set is all the data; delete the model instead of making it forget")
        return np.flatnonzero(chosen)

    def known_by(self, key: Callable[[str], str] | None) -> "ErasureRequest":
        """Return the request for data whose ``subject_key`` made other names of those written in it.

        Args:
            key: that function; None where names are compared as they are written.

        Returns:
            The request in the data's names.

        Raises:
            UsageError: if the function fails on a name.
        """
        return self if key is None else replace(self, subjects=[keyed(key, name) for name in self.subjects])

    @property
    def wanted(self) -> dict[str, Any]:
        """Return what is to be forgotten and how strongly, by which an earlier answer is found again."""
        names = {name: sorted(set(getattr(self, name))) for name in ("subjects", "rows", "classes")}
        return names | {"where": self.where, "guarantee": str(self.guarantee), "also_near": self.also_near}

    def to_dict(self) -> dict[str, Any]:
        """Return the request as plain values, without ``received``, which does not affect the result."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in (asdict(self) | {"guarantee": str(self.guarantee)}).items()
            if name != "received" and (name != "also_near" or value)  # so that earlier requests keep their digests
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ErasureRequest":
        """Return the request that ``to_dict`` wrote down."""
        return cls(**values)


def _day(name: str, given: str | None) -> dt.date | None:
    """Return a date of a request."""
    if given is None:
        return None
    try:
        return dt.date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"{name} {given!r} is no date such as 2026-12-31") from None
