"""The members of a split as an attacker's shadow models: every attack's scores of each member, and of a model."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from neuralyzer.attacks import lira, rmia
from neuralyzer.attacks.group import Group
from neuralyzer.references.signal_values import Flags, Floats, Indices, SplitValues

SIGNAL = "margin"  # LiRA's logit-scaled confidence
FEWEST = 3  # members that held a row, and members that did not: one may be the target, and a variance takes two


@dataclass(frozen=True, eq=False)
class Shadows:
    """Shadow models on some rows.

    Attributes:
        rows: positions of the rows among the training rows, ``(n,)``.
        phi: each member's margins on them, ``(M, n)``.
        held: which member held which row, ``(M, n)``.
        holdout: each member's margins on the holdout, ``(M, H)``.
        classes: whether margins are log-odds of a class, so that RMIA has probabilities.
    """

    rows: Indices
    phi: Floats
    held: Flags
    holdout: Floats
    classes: bool

    @classmethod
    def of(cls, split: SplitValues, rows: Indices, classes: bool) -> "Shadows":
        """Return the members of a split as shadow models on those of ``rows`` that can be attacked.

        Args:
            split: the references.
            rows: positions among the training rows, ``(n,)``.
            classes: whether the models are classifiers.

        Returns:
            The shadow models; rows without values, such as erased ones, and rows that fewer than ``FEWEST`` members
            held or lacked are left out.
        """
        readings, held = split.signals[SIGNAL], split.rows_held_by[:, rows]
        phi = readings.rows[:, rows]
        count = held.sum(0)
        usable = np.isfinite(phi).all(0) & (count >= FEWEST) & (len(held) - count >= FEWEST)
        return cls(rows[usable], phi[:, usable], held[:, usable], readings.holdout, classes)

    @cached_property
    def _probability(self) -> Floats:
        return np.asarray(special.expit(self.phi))

    @cached_property
    def _p_holdout(self) -> Floats:
        return np.asarray(special.expit(self.holdout))

    def of_members(self) -> dict[str, Floats]:
        """Return the scores ``(M, n)`` of each member as the target, left out of its own statistics, by attack."""
        seen, never = self._groups(self.phi, leave_out=True)
        scores = {"lira-online": lira.online(self.phi, seen, never), "lira-offline": lira.offline(self.phi, never)}
        if self.classes:
            members = len(self.phi)
            p_seen, p_never = (group.mean for group in self._groups(self._probability, leave_out=True))
            p_others = (self._p_holdout.sum(0) - self._p_holdout) / (members - 1)
            by_member = [
                _rmia(self._probability[m], self._p_holdout[m], p_seen[m], p_never[m], p_others[m])
                for m in range(members)
            ]
            scores |= {name: np.stack([of_member[name] for of_member in by_member]) for name in by_member[0]}
        return scores

    def of_model(self, phi: Floats, holdout: Floats) -> dict[str, Floats]:
        """Return the scores of a model that is not a member.

        Args:
            phi: its margins on the rows, ``(n,)``.
            holdout: its margins on the holdout, ``(H,)``.

        Returns:
            Scores ``(n,)`` by attack.
        """
        seen, never = self._groups(self.phi, leave_out=False)
        scores = {"lira-online": lira.online(phi, seen, never), "lira-offline": lira.offline(phi, never)}
        if self.classes:
            p_seen, p_never = (group.mean for group in self._groups(self._probability, leave_out=False))
            p, p_holdout = special.expit(phi), special.expit(holdout)
            scores |= _rmia(p, p_holdout, p_seen, p_never, self._p_holdout.mean(0))
        return scores

    def _groups(self, values: Floats, leave_out: bool) -> tuple[Group, Group]:
        """Return the moments of ``values`` over the members that held each row, and over those that did not."""
        groups = [(Group.of(values, belongs), belongs) for belongs in (self.held, ~self.held)]
        seen, never = (group.without_each(values, belongs) if leave_out else group for group, belongs in groups)
        return seen, never


def _rmia(p: Floats, p_holdout: Floats, seen: Floats, never: Floats, holdout_mean: Floats) -> dict[str, Floats]:
    """Return the RMIA scores of one target; no model saw the holdout, so its online evidence is the plain mean."""
    offline = rmia.offline_evidence
    return {
        "rmia-online": rmia.scores(p / rmia.online_evidence(seen, never), p_holdout / holdout_mean),
        "rmia-offline": rmia.scores(p / offline(never), p_holdout / offline(holdout_mean)),
    }
