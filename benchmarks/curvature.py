"""A product with the Gauss-Newton matrix: forward- and reverse-mode passes of torch.func against curvlinops."""

import time
from collections.abc import Callable

import torch
from curvlinops import GGNLinearOperator
from torch import nn

from benchmarks import results
from neuralyzer.demo import digits
from neuralyzer.influence.curvature import GaussNewton, Parameters
from neuralyzer.models import training


def main(argv: list[str] | None = None) -> None:
    data, _ = digits.digits(1)
    recipe = digits.recipe(1)
    module = training.train(recipe.__class__(**(vars(recipe) | {"epochs": 5})), data)
    vector = torch.randn(sum(Parameters(module).sizes), generator=torch.Generator().manual_seed(0))
    ours = GaussNewton(module, recipe.objective, data)
    theirs = GGNLinearOperator(
        module, nn.CrossEntropyLoss(), list(module.parameters()), [(data.x, data.y)],
        check_deterministic=False, num_data=len(data),
    )  # fmt: skip
    difference = float((ours @ vector - theirs @ vector).norm() / (ours @ vector).norm())
    own, peer = _seconds(lambda: ours @ vector), _seconds(lambda: theirs @ vector)
    results.write(
        "curvature",
        {
            "rows": len(data), "parameters": len(vector), "ours_ms": 1000 * own, "curvlinops_ms": 1000 * peer,
            "times_faster": peer / own, "relative_difference": difference,
        },
    )  # fmt: skip


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(15):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


if __name__ == "__main__":
    main()
