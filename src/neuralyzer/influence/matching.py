"""Newton steps that move a model's outputs on some rows to a target and change those on other rows least."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import vjp

from neuralyzer.data.batches import Inputs
from neuralyzer.data.rows import Data
from neuralyzer.influence.conjugate import conjugate_gradients
from neuralyzer.influence.curvature import Parameters, Transposed, directional_derivative
from neuralyzer.influence.ekfac import Ekfac
from neuralyzer.influence.removal import moved
from neuralyzer.models.objective import Objective, matchable
from neuralyzer.models.reading import called

PULL = 25.0  # weight of a matched row, in retained rows (docs/decisions/0021-matching.md)
PRODUCTS = 6  # most products of a step's linear solve (docs/decisions/0024-cheaper-matching.md)
TOLERANCE = 0.2  # residual of that solve, as a share of the right side; fine-tuning corrects it. Chosen, not tuned
CHUNK = 512  # rows of one forward pass; limits memory, chosen, not tuned


def matching(
    module: nn.Module,
    objective: Objective,
    rounds: Iterable[tuple[Data, Tensor]],
    factors: Ekfac,
    others: int,
    damping: float,
    pull: float = PULL,
) -> Iterator[nn.Module]:
    """Take one step in each round.

    A step is a Levenberg-Marquardt step on ``sum of mismatches + (others / pull) |delta|^2 / 2``, with ``|delta|`` in
    the metric of the other rows' curvature ``H + damping I``. Of all changes that reach the target it is the one that
    changes the other rows' losses least. The first step is the influence update for soft labels, with the curvature of
    the matched rows added. That curvature is taken halfway to the target, because it vanishes where a network is
    confident of its rows.

    Args:
        module: the initial model; not changed.
        objective: computes outputs, mismatch and curvature.
        rounds: for each step, the ``F`` rows whose outputs are matched, and their targets ``(F, K)`` as
            ``objective.target`` makes them.
        factors: ``H``, of the mean loss.
        others: ``n_R``, number of rows that ``H`` represents.
        damping: ``lambda``.
        pull: weight of a matched row relative to one of the others.

    Yields:
        The model after each step, a new module each time.
    """
    parameters, scale = Parameters(module), pull / others
    for rows, target in rounds:
        mismatch = _Mismatch(module, objective, rows, target)
        step = conjugate_gradients(
            lambda v, at=mismatch: factors.product(parameters, v) + damping * v + scale * at.curvature(v),  # type: ignore[misc]
            -scale * mismatch.gradient(),
            lambda v: factors.solve(parameters, v, damping),
            PRODUCTS,
            TOLERANCE,
        )
        module = moved(module, step)
        yield module


class _Mismatch:
    """The mismatch summed over some rows, at a module's present parameters: gradient and curvature, flat ``(P,)``."""

    def __init__(self, module: nn.Module, objective: Objective, rows: Data, target: Tensor) -> None:
        self.module, self.objective, self.rows, self.target = module, matchable(objective), rows, target
        self.parameters = Parameters(module)
        self.cached: tuple[Tensor, Transposed] | None = None

    def _outputs(self, x: Inputs, values: dict[str, Tensor]) -> Tensor:
        """Return the outputs on rows as a function of the parameters."""
        return self.objective.outputs(called(self.module, values), x)

    def _chunks(self) -> Iterator[tuple[Callable[[dict[str, Tensor]], Tensor], Tensor, Transposed, Tensor]]:
        """Yield for each chunk the function of its outputs, these, the product with J', and the targets."""
        # A single chunk's forward pass is cached for all products; those of several chunks would take too much memory.
        first = 0
        for x, y in self.rows.chunks(CHUNK):
            outputs = partial(self._outputs, x)
            output, transposed = self.cached or vjp(outputs, self.parameters.values)  # type: ignore[misc]
            if len(y) == len(self.rows):
                self.cached = output, transposed
            yield outputs, output, transposed, self.target[first : first + len(y)]
            first += len(y)

    def gradient(self) -> Tensor:
        """Return the gradient ``(P,)``."""
        total = torch.zeros(sum(self.parameters.sizes))
        for _, output, transposed, target in self._chunks():
            (product,) = transposed(self.objective.mismatch(output, target))
            total += self.parameters.flat(product).detach()
        return total

    def curvature(self, vector: Tensor) -> Tensor:
        """Return the product of the curvature with ``vector (P,)``."""
        total, tangents = torch.zeros_like(vector), self.parameters.tree(vector)
        for outputs, output, transposed, target in self._chunks():
            _, output_tangents = directional_derivative(outputs, self.parameters.values, tangents)
            (product,) = transposed(self.objective.halfway(output, target, output_tangents))
            total += self.parameters.flat(product).detach()
        return total
