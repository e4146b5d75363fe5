"""EKFAC: curvature layer by layer in a Kronecker eigenbasis, in which every damping is solved at once.

George et al. 2018 (arXiv 1806.03884); convolutions and layers on sequences in the "expand" form of Eschenhagen et al.
2023 (arXiv 2311.00636); on influence Grosse et al. 2023 (arXiv 2308.03296).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.errors import NotFiniteError, UsageError
from neuralyzer.influence.curvature import Parameters
from neuralyzer.influence.layers import biased, covered, flows, products
from neuralyzer.models.objective import Objective, curved


@dataclass(frozen=True, eq=False)
class Block:
    """One layer's matrix, ``(U_G x U_A) diag(values) (U_G x U_A)'``.

    Attributes:
        weight: name of the layer's weight.
        bias: name of its bias; empty where it has none that is trained.
        inputs: eigenvectors ``U_A (a, a)`` of the second moments of its inputs, a last 1 for the bias included.
        outputs: eigenvectors ``U_G (g, g)`` of the second moments of its output gradients.
        values: second moments of the rows' gradients in that basis, ``(g, a)``.
    """

    weight: str
    bias: str
    inputs: Tensor
    outputs: Tensor
    values: Tensor

    def turned(self, matrix: Tensor) -> Tensor:
        """``U_G' M U_A`` for ``M (..., g, a)``."""
        return self.outputs.T @ matrix @ self.inputs

    def back(self, matrix: Tensor) -> Tensor:
        """Its inverse."""
        return self.outputs @ matrix @ self.inputs.T


@dataclass(frozen=True, eq=False)
class Ekfac:
    """The matrix of a whole module; parameters outside the blocks have none, and solves leave them where they are.

    Attributes:
        blocks: the layers'.
        rows: how many rows it was estimated from.
    """

    blocks: tuple[Block, ...]
    rows: int

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return max(float(block.values.max()) for block in self.blocks)

    def solve(self, parameters: Parameters, vector: Tensor, damping: float) -> Tensor:
        """``(H + damping I)^-1 v``.

        Args:
            parameters: of the module.
            vector: ``v (P,)``.
            damping: added to every eigenvalue.

        Returns:
            ``(P,)``; 0 for parameters outside the blocks.
        """
        return self._applied(parameters, vector, lambda values: 1 / (values + damping))

    def product(self, parameters: Parameters, vector: Tensor) -> Tensor:
        """``H v`` for ``v (P,)``."""
        return self._applied(parameters, vector, lambda values: values)

    def _applied(self, parameters: Parameters, vector: Tensor, spectrum: Callable[[Tensor], Tensor]) -> Tensor:
        tree = parameters.tree(vector)
        found = {name: torch.zeros_like(part) for name, part in tree.items()}
        for block in self.blocks:
            matrix = tree[block.weight].flatten(1)
            if block.bias:
                matrix = torch.cat([matrix, tree[block.bias].unsqueeze(1)], 1)
            back = block.back(block.turned(matrix) * spectrum(block.values))
            if block.bias:
                found[block.bias], back = back[:, -1], back[:, :-1]
            found[block.weight] = back.reshape(tree[block.weight].shape)
        return parameters.flat(found)


def ekfac(module: nn.Module, objective: Objective, data: Data, rows: int | None = None, seed: int = 0) -> Ekfac:
    """Estimate the matrix in two passes over the rows, from gradients at targets that the model itself draws.

    Args:
        module: read in evaluation mode.
        objective: gives outputs and draws gradients at them.
        data: the rows.
        rows: how many of them, drawn by ``seed``; all by default.
        seed: of that draw and of the gradients.

    Returns:
        The matrix.

    Raises:
        UsageError: if no layer has a Kronecker form.
        NotFiniteError: if a layer's inputs or gradients are NaN or infinite.
    """
    module.eval()
    layers = covered(module)
    if not layers:
        raise UsageError("EKFAC needs a Linear or Conv2d layer whose weight is trained and shared with no other")
    if rows is not None and rows < len(data):
        data = data.select(np.sort(np.random.default_rng(seed).choice(len(data), rows, replace=False)))

    def drawn() -> Callable[[Tensor, Tensor], Tensor]:
        generator = torch.Generator().manual_seed(seed)  # both passes draw the same
        return lambda outputs, _: curved(objective).drawn_gradients(outputs, generator)

    moments: dict[str, tuple[Tensor, Tensor]] = {}
    for captured in flows(module, objective, data, layers, drawn()):
        for name, (inputs, back) in captured.items():
            a, g = moments.get(name, (0.0, 0.0))
            moments[name] = a + _second(inputs), g + _second(back)
    for name, both in moments.items():
        if not all(bool(torch.isfinite(moment).all()) for moment in both):
            raise NotFiniteError(f"layer {name!r} has NaN or infinite inputs or gradients; EKFAC cannot be computed")
    bases = {name: tuple(_eigenvectors(moment) for moment in both) for name, both in moments.items()}
    values = {name: a.new_zeros(len(g), len(a)) for name, (a, g) in bases.items()}
    for captured in flows(module, objective, data, layers, drawn()):
        for name, (inputs, back) in captured.items():
            a, g = bases[name]
            inputs, back = inputs @ a, back @ g
            if inputs.shape[1] == 1:  # a gradient of rank one: its square is the product of squares
                values[name] += back[:, 0].square().T @ inputs[:, 0].square()
            else:
                values[name] += products(inputs, back).square().sum(0)
    blocks = []
    for name, (a, g) in bases.items():
        path = f"{name}." if name else ""
        bias = f"{path}bias" if biased(layers[name]) else ""
        blocks.append(Block(f"{path}weight", bias, a, g, values[name] / len(data)))
    return Ekfac(tuple(blocks), len(data))


def _second(flow: Tensor) -> Tensor:
    flat = flow.flatten(0, 1)
    return flat.T @ flat


def _eigenvectors(moment: Tensor) -> Tensor:
    """In float64: the smallest eigenvalues of many rows' moments drown in float32's rounding."""
    return torch.linalg.eigh(moment.double())[1].to(moment.dtype).contiguous()  # type: ignore[no-any-return]
