r"""Removing a group of rows: the change of the parameters to second order.

Rows' weights ``w`` become ``v``, both of sum 1: the rest's ``1/n`` becomes ``1/(n - |U|)`` and the group's 0. The new
parameters solve ``F(theta) = sum v_i g_i(theta) = 0``. Let ``theta(t)`` be the path
with ``F(theta(t)) = (1 - t) F(theta(0))``. Differentiated once and twice, with ``H`` and ``T`` the second and third
derivative of the new mean loss, this gives

    theta' = -H^-1 F,        theta'' = -H^-1 T[theta', theta'],        change = theta' + theta'' / 2.

At a minimum of the old loss ``F`` is ``-q`` times the group's mean gradient ``g_U``, with ``p = |U| / n`` and ``q = p /
(1 - p)``. Basu, You and Feizi 2020, "On Second-Order Group Influence Functions for Black-Box Predictions" (arXiv
1911.00418), show that a group's rows are not independent: their own Hessian ``H_U`` matters. They expand about the old
Hessian ``H_0``, to ``q H_0^-1 g_U + q^2 (H_0^-1 H_U - I) H_0^-1 g_U``. The new one is ``H = (H_0 - p H_U) / (1 - p)``, so
that ``theta'`` holds their series to every order (for quadratic losses it is exact); ``theta''`` has the third derivative,
which is of the same order as their correction and which they leave out.
"""

from collections.abc import Callable, Iterable, Iterator
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
        """Return the sum of both, ``(P,)``."""
        return self.first + self.second

    def of_loss(self, module: nn.Module, objective: Objective, target: Data) -> float:
        """Return the change of the mean loss on target rows: that of the changed module less that of ``module``."""
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
    """Return what removing a group of rows changes in the parameters.

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
    return next(removals(module, objective, rest, group, [damping], products, weight_decay, curvature))


def removals(
    module: nn.Module,
    objective: Objective,
    rest: Data,
    group: Data,
    dampings: Iterable[float],
    products: int = PRODUCTS,
    weight_decay: float = 0.0,
    curvature: Curvature | None = None,
) -> Iterator[Change]:
    """Yield what ``removed`` returns, for each of several dampings: their first orders share one Krylov space."""
    operator = GaussNewton(module, objective, rest) if curvature is None else curvature
    space = krylov(operator, mean_gradient(module, objective, group, weight_decay), products)
    for damping in dampings:
        first = len(group) / len(rest) * space.solve(damping)
        bend = _third_derivative(module, objective, rest, first)  # a penalty has none
        yield Change(first, -krylov(operator, bend, products).solve(damping) / 2)


def _third_derivative(module: nn.Module, objective: Objective, data: Data, direction: Tensor) -> Tensor:
    """Return ``T[d, d]`` of the mean loss: the second derivative of its gradient along a direction, ``(P,)``."""
    module.eval()
    parameters = Parameters(module)
    tangents, total = parameters.tree(direction), torch.zeros_like(direction)
    zero, one = direction.new_zeros(()), direction.new_ones(())
    for x, y in data.chunks(CHUNK):

        def loss(values: dict[str, Tensor], x: Inputs = x, y: Tensor = y) -> Tensor:
            return objective.losses(objective.outputs(called(module, values), x), y).sum()

        def gradient(t: Tensor, loss: Callable[[dict[str, Tensor]], Tensor] = loss) -> Tensor:
            moved_values = {name: value + t * tangents[name] for name, value in parameters.values.items()}
            return parameters.flat(grad(loss)(moved_values))

        def derivative(t: Tensor, gradient: Callable[[Tensor], Tensor] = gradient) -> Tensor:
            return jvp(gradient, (t,), (one,))[1]  # type: ignore[no-any-return]

        with plain_attention():
            total += jvp(derivative, (zero,), (one,))[1].detach()
    return total / len(data)
