"""Losses of the algorithms as pure functions of per-row losses."""

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
