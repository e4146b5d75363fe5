"""The likelihood-ratio attack, LiRA (Carlini, Chien, Nasr, Song, Terzis and Tramèr 2022, arXiv 2112.03570).

A row's logit-scaled confidence ``phi = log p_y - log(1 - p_y)`` is the ``margin`` signal. Over shadow models it is
nearly normal: ``N(mu_in, s_in^2)`` over those that held the row, ``N(mu_out, s_out^2)`` over the others.
"""

import numpy as np
from scipy import special

from neuralyzer.attacks.group import Group
from neuralyzer.references.signal_values import Floats


def online(phi: Floats, seen: Group, never: Group) -> Floats:
    """Return the log likelihood ratio (algorithm 1): ``log N(phi; mu_in, s_in^2) - log N(phi; mu_out, s_out^2)``.

    Args:
        phi: the target's values, ``(..., n)``.
        seen: of the shadow models that held each row.
        never: of those that did not.

    Returns:
        Scores ``(..., n)``; higher: more likely a member.
    """
    return _log_density(phi, seen) - _log_density(phi, never)


def offline(phi: Floats, never: Group) -> Floats:
    """Return the score of a one-sided test against models that never held the row (equation 4): ``-log Pr[Z > phi]``.

    The paper's score is ``1 - Pr[Z > phi]``. It orders rows equally but rounds to 1 for the highest scores.

    Args:
        phi: the target's values, ``(..., n)``.
        never: of the shadow models that did not hold each row.

    Returns:
        Scores ``(..., n)``; higher: more likely a member.
    """
    return np.asarray(-special.log_ndtr((never.mean - phi) / never.deviation()))


def _log_density(phi: Floats, group: Group) -> Floats:
    """Return the log of the normal density without its constant."""
    deviation = group.deviation()
    return np.asarray(-np.log(deviation) - 0.5 * np.square((phi - group.mean) / deviation))
