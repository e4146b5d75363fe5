"""EKFAC: the curvature of each layer in a Kronecker eigenbasis, in which a solve with any damping is a division.

George et al. 2018 (arXiv 1806.03884). Convolutions and layers on sequences are in the "expand" form of Eschenhagen et
al. 2023 (arXiv 2311.00636). For its use in influence functions see Grosse et al. 2023 (arXiv 2308.03296).
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
        bias: name of its trained bias; empty where there is none.
        inputs: eigenvectors ``U_A (a, a)`` of the second moments of its inputs; a 1 is appended to these for the bias.
        outputs: eigenvectors ``U_G (g, g)`` of the second moments of its output gradients.
        values: second moments of the rows' gradients in that basis, ``(g, a)``.
    """

    weight: str
    bias: str
    inputs: Tensor
    outputs: Tensor
    values: Tensor

    def to_eigenbasis(self, matrix: Tensor) -> Tensor:
        """Return ``U_G' M U_A`` for ``M (..., g, a)``."""
        return self.outputs.T @ matrix @ self.inputs

    def from_eigenbasis(self, matrix: Tensor) -> Tensor:
        """Return ``U_G M U_A'`` for ``M (..., g, a)``."""
        return self.outputs @ matrix @ self.inputs.T


@dataclass(frozen=True, eq=False)
class Ekfac:
    """The block-diagonal matrix of a whole module.

    Parameters outside the blocks have no curvature here; solves and products are 0 for them.

    Attributes:
        blocks: one for each layer.
        rows: number of rows that it was estimated from.
    """

    blocks: tuple[Block, ...]
    rows: int

    @property
    def largest(self) -> float:
        """The largest eigenvalue."""
        return max(float(block.values.max()) for block in self.blocks)

    def solve(self, parameters: Parameters, vector: Tensor, damping: float) -> Tensor:
        """Return ``(H + damping I)^-1 v``.

        Args:
            parameters: layout of the module's flat vectors.
            vector: ``v (P,)``.
            damping: added to every eigenvalue.

        Returns:
            ``(P,)``; 0 for parameters outside the blocks.
        """
        return self._apply(parameters, vector, lambda values: 1 / (values + damping))

    def product(self, parameters: Parameters, vector: Tensor) -> Tensor:
        """Return ``H v`` for ``v (P,)``."""
        return self._apply(parameters, vector, lambda values: values)

    def _apply(self, parameters: Parameters, vector: Tensor, spectrum: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``f(H) v`` for ``v (P,)``, where ``spectrum`` applies ``f`` to eigenvalues; 0 outside the blocks."""
        tree = parameters.tree(vector)
        result = {name: torch.zeros_like(part) for name, part in tree.items()}
        for block in self.blocks:
            matrix = tree[block.weight].flatten(1)
            if block.bias:
                matrix = torch.cat([matrix, tree[block.bias].unsqueeze(1)], 1)
            product = block.from_eigenbasis(block.to_eigenbasis(matrix) * spectrum(block.values))
            if block.bias:
                result[block.bias], product = product[:, -1], product[:, :-1]
            result[block.weight] = product.reshape(tree[block.weight].shape)
        return parameters.flat(result)


def ekfac(module: nn.Module, objective: Objective, data: Data, rows: int | None = None, seed: int = 0) -> Ekfac:
    """Estimate the matrix in two passes over the rows, from gradients at targets drawn from the model.

    Args:
        module: read in evaluation mode.
        objective: computes outputs and draws gradients at them.
        data: the rows.
        rows: size of the random sample of rows that is used; all by default.
        seed: of the sample and of the drawn gradients.

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
        generator = torch.Generator().manual_seed(seed)  # both passes draw the same targets
        return lambda outputs, y: predictions.drawn_gradients(outputs, y, generator)

    predictions = curved(objective)
    moments: dict[str, tuple[Tensor, Tensor]] = {}
    for captured in flows(module, predictions, data, layers, drawn()):
        for name, (inputs, output_gradients) in captured.items():
            a, g = moments.get(name, (0.0, 0.0))
            moments[name] = a + _second_moment(inputs), g + _second_moment(output_gradients)
    for name, both in moments.items():
        if not all(bool(torch.isfinite(moment).all()) for moment in both):
            raise NotFiniteError(f"layer {name!r} has NaN or infinite inputs or gradients; EKFAC cannot be computed")
    bases = {name: tuple(_eigenvectors(moment) for moment in both) for name, both in moments.items()}
    values = {name: a.new_zeros(len(g), len(a)) for name, (a, g) in bases.items()}
    for captured in flows(module, predictions, data, layers, drawn()):
        for name, (inputs, output_gradients) in captured.items():
            a, g = bases[name]
            inputs, output_gradients = inputs @ a, output_gradients @ g
            if inputs.shape[1] == 1:  # one position: a gradient of rank one, whose square is the product of squares
                values[name] += output_gradients[:, 0].square().T @ inputs[:, 0].square()
            else:
                values[name] += products(inputs, output_gradients).square().sum(0)
    blocks = []
    for name, (a, g) in bases.items():
        path = f"{name}." if name else ""
        bias = f"{path}bias" if biased(layers[name]) else ""
        blocks.append(Block(f"{path}weight", bias, a, g, values[name] / len(data)))
    return Ekfac(tuple(blocks), len(data))


def _second_moment(vectors: Tensor) -> Tensor:
    """Return the summed outer products ``(d, d)`` of vectors ``(n, T, d)``."""
    flat = vectors.flatten(0, 1)
    return flat.T @ flat


def _eigenvectors(moment: Tensor) -> Tensor:
    """Return eigenvectors, computed in float64: in float32, rounding would exceed the smallest eigenvalues."""
    return torch.linalg.eigh(moment.double())[1].to(moment.dtype).contiguous()  # type: ignore[no-any-return]
