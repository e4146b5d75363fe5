r"""Removing or adding a group of rows: the change of the parameters to second order.

Rows' weights ``w`` become ``v``, both of sum 1: the rest's ``1/n`` becomes ``1/(n - |U|)`` and the group's 0, or the other way round
for rows that are added. The new parameters solve ``F(theta) = sum v_i g_i(theta) = 0``. Along ``F(theta(t)) = (1 - t)
F(theta(0))``, differentiated once and twice, with ``H`` and ``T`` the second and third derivative of the new mean loss,

    theta' = -H^-1 F,        theta'' = -H^-1 T[theta', theta'],        change = theta' + theta'' / 2.

At a minimum of the old loss ``F`` is ``-q`` times the group's mean gradient ``g_U``, with ``p = |U| / n`` and ``q = p /
(1 - p)``. Basu, You and Feizi 2020, "On Second-Order Group Influence Functions for Black-Box Predictions" (arXiv
1911.00418), show that a group's rows are not independent: their own Hessian ``H_U`` matters. They expand about the old
Hessian ``H_0``, to ``q H_0^-1 g_U + q^2 (H_0^-1 H_U - I) H_0^-1 g_U``. The new one is ``H = (H_0 - p H_U) / (1 - p)``, so
that ``theta'`` holds their series to every order (for quadratic losses it is exact); ``theta''`` has the third derivative,
which is of the same order as their correction and which they leave out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad, jvp

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.influence.curvature import CHUNK, Curvature, GaussNewton, Parameters, mean_gradient, plain_attention
from neuralyzer.influence.krylov import krylov
from neuralyzer.influence.removal import PRODUCTS, moved
from neuralyzer.models import reading
from neuralyzer.models.objective import Objective
from neuralyzer.models.reading import called


@dataclass(frozen=True, eq=False)
class Change:
    """A change of the flat parameters.

    Attributes:
        first: ``theta'``, a Newton step, ``(P,)``.
        second: ``theta'' / 2``, the correction for how the curvature changes on the way, ``(P,)``.
    """

    first: Tensor
    second: Tensor

    @property
    def whole(self) -> Tensor:
        """Both, ``(P,)``."""
        return self.first + self.second

    def of_loss(self, module: nn.Module, objective: Objective, target: Data) -> float:
        """By how much the mean loss on target rows changes: that of the changed module less that of ``module``."""
        after = reading.mean_loss(moved(module, self.whole), objective, target)
        return after - reading.mean_loss(module, objective, target)


def removed(
    module: nn.Module,
    objective: Objective,
    rest: Data,
    group: Data,
    damping: float,
    products: int = PRODUCTS,
    weight_decay: float = 0.0,
    curvature: Curvature | None = None,
) -> Change:
    """What the parameters would have been without a group of rows.

    Args:
        module: trained on both, to a minimum.
        objective: gives the losses.
        rest: all other training rows.
        group: the rows to remove.
        damping: added to the curvature; the weight decay is a part of it, as in ``removal.removal_space``.
        products: most products with the curvature a solve.
        weight_decay: L2 penalty ``weight_decay / 2 |theta|^2`` beside the mean loss; it stays beside the mean.
        curvature: ``H`` of the mean loss over the rest; by default its Gauss-Newton matrix.

    Returns:
        The change.
    """
    pull = -len(group) / len(rest)
    return _reweighted(module, objective, [(rest, 1.0)], group, pull, damping, products, weight_decay, curvature)


def added(
    module: nn.Module,
    objective: Objective,
    rows: Data,
    group: Data,
    damping: float,
    products: int = PRODUCTS,
    weight_decay: float = 0.0,
    curvature: Curvature | None = None,
) -> Change:
    """What the parameters would have been with a group of rows more.

    Args:
        module: trained on ``rows``, to a minimum.
        objective: gives the losses.
        rows: the training rows.
        group: the rows to add.
        damping: added to the curvature; the weight decay is a part of it.
        products: most products with the curvature a solve.
        weight_decay: L2 penalty beside the mean loss; it stays beside the mean.
        curvature: ``H`` of the mean loss over all of them; by default their Gauss-Newton matrix.

    Returns:
        The change.
    """
    pull = len(group) / (len(rows) + len(group))
    parts = [(rows, 1 - pull), (group, pull)]
    return _reweighted(module, objective, parts, group, pull, damping, products, weight_decay, curvature)


def _reweighted(
    module: nn.Module,
    objective: Objective,
    parts: list[tuple[Data, float]],
    group: Data,
    pull: float,
    damping: float,
    products: int,
    weight_decay: float,
    curvature: Curvature | None,
) -> Change:
    """To a loss of these parts, each with its share; ``F`` is ``pull`` times the group's mean gradient."""
    operator = curvature if curvature is not None else _Mixed(module, objective, parts)
    gradient = mean_gradient(module, objective, group, weight_decay)
    first = -pull * krylov(operator, gradient, products).solve(damping)
    bent = torch.stack([share * _bent(module, objective, data, first) for data, share in parts]).sum(0)
    return Change(first, -krylov(operator, bent, products).solve(damping) / 2)  # a penalty has no third derivative


class _Mixed:
    """The Gauss-Newton matrix of a loss of several parts."""

    def __init__(self, module: nn.Module, objective: Objective, parts: list[tuple[Data, float]]) -> None:
        self.parts = [(share, GaussNewton(module, objective, data)) for data, share in parts]

    def __matmul__(self, vector: Tensor) -> Tensor:
        return torch.stack([share * (matrix @ vector) for share, matrix in self.parts]).sum(0)


def _bent(module: nn.Module, objective: Objective, data: Data, direction: Tensor) -> Tensor:
    """``T[d, d]`` of the mean loss: the second derivative of its gradient along a direction, ``(P,)``."""
    module.eval()
    parameters = Parameters(module)
    tangents, total = parameters.tree(direction), torch.zeros_like(direction)
    zero, one = direction.new_zeros(()), direction.new_ones(())
    for x, y in data.chunks(CHUNK):

        def loss(values: dict[str, Tensor], x: Inputs = x, y: Tensor = y) -> Tensor:
            return objective.losses(objective.outputs(called(module, values), x), y).sum()

        def gradient(t: Tensor, loss: Callable[[dict[str, Tensor]], Tensor] = loss) -> Tensor:
            here = {name: value + t * tangents[name] for name, value in parameters.values.items()}
            return parameters.flat(grad(loss)(here))

        def speed(t: Tensor, gradient: Callable[[Tensor], Tensor] = gradient) -> Tensor:
            return jvp(gradient, (t,), (one,))[1]  # type: ignore[no-any-return]

        with plain_attention():
            total += jvp(speed, (zero,), (one,))[1].detach()
    return total / len(data)
