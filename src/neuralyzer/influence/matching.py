"""Newton steps that bring a model's outputs on some rows to a target and leave it alone elsewhere."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vjp

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.influence.conjugate import conjugate_gradients
from neuralyzer.influence.curvature import Parameters, pushed
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.influence.removal import moved
from neuralyzer.models.objective import Objective, matchable
from neuralyzer.models.reading import called

PULL = 25.0  # how many retained rows a matched row weighs as much as
PRODUCTS = 6
TOLERANCE = 0.2  # of a step's linear solve; what follows corrects it
CHUNK = 512

Pull = Callable[[Tensor], tuple[dict[str, Tensor]]]


def matching(
    module: nn.Module,
    objective: Objective,
    rounds: Iterable[tuple[Data, Tensor]],
    factors: Ekfac,
    others: int,
    damping: float,
    pull: float = PULL,
) -> Iterator[nn.Module]:
    """The models after a step on each of some rounds.

    A step is Levenberg-Marquardt's on ``sum of mismatches + (others / pull) |delta|^2 / 2`` in the metric of the other
    rows' curvature ``H + damping I``: of all changes that reach the target it takes the one that these rows notice
    least. Its first is the influence update for soft labels, with the matched rows' own curvature, taken half-way to
    the target: a network that is sure of its rows has none where it stands.

    Args:
        module: where to start; not changed.
        objective: gives outputs, mismatch and curvature.
        rounds: of each step, the ``F`` rows whose outputs shall change, and what ``objective.target`` gave for them,
            ``(F, K)``.
        factors: ``H``, of the mean loss.
        others: ``n_R``, how many rows that curvature stands for.
        damping: ``lambda``.
        pull: weight of a matched row beside one of the others.

    Yields:
        A module of its own each time.
    """
    parameters, scale = Parameters(module), pull / others
    for rows, target in rounds:
        here = _Here(module, objective, rows, target)
        step = conjugate_gradients(
            lambda v, own=here: factors.product(parameters, v) + damping * v + scale * own.curvature(v),  # type: ignore[misc]
            -scale * here.gradient(),
            lambda v: factors.solve(parameters, v, damping),
            PRODUCTS,
            TOLERANCE,
        )
        module = moved(module, step)
        yield module


class _Here:
    """The mismatch of some rows where a module now stands: summed gradient and curvature, flat ``(P,)``."""

    def __init__(self, module: nn.Module, objective: Objective, rows: Data, target: Tensor) -> None:
        self.module, self.objective, self.rows, self.target = module, matchable(objective), rows, target
        self.parameters = Parameters(module)
        self.kept: tuple[Tensor, Pull] | None = None

    def _outputs(self, x: Inputs, values: dict[str, Tensor]) -> Tensor:
        return self.objective.outputs(called(self.module, values), x)

    def _chunks(self) -> Iterator[tuple[Callable[[dict[str, Tensor]], Tensor], Tensor, Pull, Tensor]]:
        # the forward pass behind a chunk that is the only one is kept for all products; of several it would be too large.
        for place, (x, _) in enumerate(self.rows.chunks(CHUNK)):
            outputs = partial(self._outputs, x)
            given, back = self.kept or vjp(outputs, self.parameters.values)  # type: ignore[misc]
            if len(self.rows) <= CHUNK:
                self.kept = given, back
            yield outputs, given, back, self.target[place * CHUNK : (place + 1) * CHUNK]

    def gradient(self) -> Tensor:
        total = torch.zeros(sum(self.parameters.sizes))
        for _, given, back, aim in self._chunks():
            (own,) = back(self.objective.mismatch(given, aim))
            total += self.parameters.flat(own).detach()
        return total

    def curvature(self, vector: Tensor) -> Tensor:
        total, tangents = torch.zeros_like(vector), self.parameters.tree(vector)
        for outputs, given, back, aim in self._chunks():
            _, along = pushed(outputs, self.parameters.values, tangents)
            (own,) = back(self.objective.halfway(given, aim, along))
            total += self.parameters.flat(own).detach()
        return total
