"""Losses of the algorithms as pure functions of per-row losses."""

import torch.nn.functional as F
from torch import Tensor


def neggrad_plus(retain: Tensor, forget: Tensor, beta: float) -> Tensor:
    """Return ``beta mean(retain) - (1 - beta) mean(forget)`` (Kurmanji et al. 2023, arXiv 2302.09880, section 4).

    Args:
        retain: per-row losses on retained rows, ``(n,)``.
        forget: per-row losses on forget rows, ``(m,)``.
        beta: weight of the retained rows, between 0 and 1.

    Returns:
        A scalar.
    """
    return beta * retain.mean() - (1 - beta) * forget.mean()


def npo(log_probabilities: Tensor, reference: Tensor, beta: float) -> Tensor:
    """Return ``-(2 / beta) mean(log sigma(-beta (log p - log p_ref)))`` (Zhang et al. 2024, arXiv 2404.05868, eq. 3).

    Args:
        log_probabilities: of each forget row's text, ``(n,)``.
        reference: the same of the original model, ``(n,)``.
        beta: inverse temperature; as it goes to 0 the gradient becomes that of ``mean(log p)``.

    Returns:
        A scalar.
    """
    return -2 / beta * F.logsigmoid(-beta * (log_probabilities - reference)).mean()


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return ``KL(p_teacher, p_student)`` of each row.

    Args:
        teacher: logits ``(n, C)``, held constant.
        student: logits ``(n, C)``.

    Returns:
        ``(n,)``.
    """
    target = teacher.detach().log_softmax(1)
    return (target.exp() * (target - student.log_softmax(1))).sum(1)
