"""The members of a split as an attacker's shadow models: every attack's scores of each of them, and of a model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from neuralyzer.attacks import lira, rmia
from neuralyzer.attacks.group import Group
from neuralyzer.references.signal_values import Flags, Floats, Indices, SplitValues

SIGNAL = "margin"  # whose reading is LiRA's logit-scaled confidence
FEWEST = 3  # members that held a row, and that did not: one may be the target, and a variance takes two


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models on some rows.

    Attributes:
        rows: positions of the rows among the training rows, ``(n,)``.
        phi: what each member read of them, ``(M, n)``.
        held: which member held which, ``(M, n)``.
        holdout: what each member read of the holdout, ``(M, H)``.
        classes: whether readings are log-odds of a class, so that there are probabilities for RMIA.
    """

    rows: Indices
    phi: Floats
    held: Flags
    holdout: Floats
    classes: bool

    @classmethod
    def of(cls, split: SplitValues, rows: Indices, classes: bool) -> "Shadows":
        """The members of a split on those of ``rows`` that can be attacked.

        Args:
            split: the references.
            rows: positions among the training rows, ``(n,)``.
            classes: whether the models are classifiers.

        Returns:
            The shadow models; rows without readings, as erased ones are, and rows that too few members held or
            lacked are left away.
        """
        readings, held = split.signals[SIGNAL], held_rows(split)[:, rows]
        phi = readings.rows[:, rows]
        count = held.sum(0)
        usable = np.isfinite(phi).all(0) & (count >= FEWEST) & (len(held) - count >= FEWEST)
        return cls(rows[usable], phi[:, usable], held[:, usable], readings.holdout, classes)

    @cached_property
    def _probability(self) -> Floats:
        return np.asarray(special.expit(self.phi))

    @cached_property
    def _outside(self) -> Floats:
        return np.asarray(special.expit(self.holdout))

    def of_members(self) -> dict[str, Floats]:
        """Each member as the target, left out of its own statistics: scores ``(M, n)`` by attack."""
        seen, never = self._groups(self.phi, leave_out=True)
        found = {"lira-online": lira.online(self.phi, seen, never), "lira-offline": lira.offline(self.phi, never)}
        if self.classes:
            members = len(self.phi)
            p_seen, p_never = (group.mean for group in self._groups(self._probability, leave_out=True))
            p_outside = (self._outside.sum(0) - self._outside) / (members - 1)
            each = [
                _rmia(self._probability[m], self._outside[m], p_seen[m], p_never[m], p_outside[m])
                for m in range(members)
            ]
            found |= {name: np.stack([own[name] for own in each]) for name in each[0]}
        return found

    def of_model(self, phi: Floats, holdout: Floats) -> dict[str, Floats]:
        """A model that is no member as the target.

        Args:
            phi: its readings of the rows, ``(n,)``.
            holdout: its readings of the holdout, ``(H,)``.

        Returns:
            Scores ``(n,)`` by attack.
        """
        seen, never = self._groups(self.phi, leave_out=False)
        found = {"lira-online": lira.online(phi, seen, never), "lira-offline": lira.offline(phi, never)}
        if self.classes:
            p_seen, p_never = (group.mean for group in self._groups(self._probability, leave_out=False))
            own, beyond = special.expit(phi), special.expit(holdout)
            found |= _rmia(own, beyond, p_seen, p_never, self._outside.mean(0))
        return found

    def _groups(self, values: Floats, leave_out: bool) -> tuple[Group, Group]:
        """Moments of ``values`` over the members that held each row, and over those that did not."""
        groups = [(Group.of(values, belongs), belongs) for belongs in (self.held, ~self.held)]
        seen, never = (group.without_each(values, belongs) if leave_out else group for group, belongs in groups)
        return seen, never


def held_rows(split: SplitValues) -> Flags:
    """Which member held which row, ``(M, N)``."""
    if split.held is not None:
        return split.held
    held = np.ones((split.members, split.signals[SIGNAL].rows.shape[1]), dtype=bool)
    for subject, own in enumerate(split.positions):
        held[:, own] = split.keep[:, subject, None]
    return held


def _rmia(p: Floats, beyond: Floats, seen: Floats, never: Floats, outside: Floats) -> dict[str, Floats]:
    """RMIA of one target; nobody saw the holdout, so that online its evidence is the plain mean."""
    return {
        "rmia-online": rmia.scores(p / rmia.online_evidence(seen, never), beyond / outside),
        "rmia-offline": rmia.scores(p / rmia.offline_evidence(never), beyond / rmia.offline_evidence(outside)),
    }
