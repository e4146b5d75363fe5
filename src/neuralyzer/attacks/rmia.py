"""The robust membership inference attack, RMIA (Zarifzadeh, Liu and Shokri 2024, arXiv 2312.03262).

A row x is a member if the model's probability of it, divided by that of reference models, is higher than this ratio is
for most rows z of the population: ``LR(x, z) = (p(x|theta) / p(x)) / (p(z|theta) / p(z))``. The population is the
holdout, which no member saw. Probabilities are of the row's own class: the logistic function of its margin.
"""

import numpy as np

from neuralyzer.references.signal_values import Floats

GAMMA = 1.0  # smallest likelihood ratio that counts; the paper finds that results hardly depend on it
OFFLINE_A = 0.3  # the paper's correction for small image sets: p_in is close to a p_out + 1 - a


def online_evidence(seen: Floats, never: Floats) -> Floats:
    """Return ``p(x)``: the mean over models that held the row and over models that did not, each weighing a half."""
    return (seen + never) / 2


def offline_evidence(never: Floats, a: float = OFFLINE_A) -> Floats:
    """Return ``p(x)`` from models that did not hold the row: ``((1 + a) p_out(x) + 1 - a) / 2``."""
    return ((1 + a) * never + 1 - a) / 2


def scores(rows: Floats, population: Floats, gamma: float = GAMMA) -> Floats:
    """Return, for each row, the share of population rows with a likelihood ratio of at least ``gamma`` (equation 3).

    Args:
        rows: ``p(x|theta) / p(x)`` of one target, ``(n,)``.
        population: ``p(z|theta) / p(z)`` of the same target, ``(H,)``.
        gamma: smallest likelihood ratio that counts for membership.

    Returns:
        Scores ``(n,)``, 0 to 1; higher: more likely a member.
    """
    below = np.searchsorted(np.sort(population) * gamma, rows, side="right")
    return np.asarray(below / len(population))
