"""Pairwise influence of the demo's 1,437 training rows on its 360 holdout rows: EKFAC factors and scores.

Against kronfluence, both from fitting the factors to the scores, alternated in one run, at an equal damping: the same
number added to the eigenvalues, which both keep as means over rows. Both take the true Fisher, from one target a row
drawn from the model. Drawn from its probabilities, as is usual, all but two or three of these 1,437 targets are the
rows' own, so that scores of two draws agree little with each other. ``drawn_gradients`` draws by another distribution
and weighs; ranks are compared where both draw so, ``DRAWS`` times, which leaves the arithmetic to differ.
"""

import statistics
import tempfile
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, TensorDataset

from benchmarks import results
from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.influence.ekfac import ekfac
from neuralyzer.influence.scores import row_scores
from neuralyzer.models import training, weights
from neuralyzer.models.classification import Classification
from neuralyzer.models.recipe import Recipe

SEED, REPEATS, DRAWS = 2, 3, 16
DAMPING = 1e-2  # of the largest eigenvalue


def main(argv: list[str] | None = None) -> None:
    try:
        import kronfluence  # noqa: F401
    except ModuleNotFoundError:
        print("skipped: it needs kronfluence; pip install -c constraints.txt kronfluence")
        return
    recipe, (rows, target) = digits.recipe(SEED), digits.digits(SEED)
    module = training.train(recipe, rows)
    damping = DAMPING * ekfac(module, recipe.objective, rows).largest
    own, peer = [], []
    for repeat in range(REPEATS):
        own.append(_timed(lambda seed=repeat: _ours(recipe, module, rows, target, damping, seed)))
        peer.append(_timed(lambda seed=repeat: _theirs(module, rows, target, damping, seed)))
    seconds, peer_seconds = (statistics.median(time for time, _ in runs) for runs in (own, peer))
    ours = _ours(recipe, module, rows, target, damping, 0, DRAWS)
    theirs = _theirs(module, rows, target, damping, 0, DRAWS)
    results.write(
        "influence",
        {
            "training_rows": len(rows), "target_rows": len(target), "damping": damping, "damping_share": DAMPING,
            "seconds": seconds, "kronfluence_seconds": peer_seconds, "times_faster": peer_seconds / seconds,
            "all_seconds": [time for time, _ in own], "all_kronfluence_seconds": [time for time, _ in peer],
            "spearman": _rank(ours, theirs), "draws": DRAWS, "spearman_of_one_draw_each": _rank(own[0][1], peer[0][1]),
            "spearman_of_our_two_draws": _rank(own[0][1], own[1][1]),
            "spearman_of_kronfluences_two_draws": _rank(peer[0][1], peer[1][1]),
            "scale": float((ours * theirs).sum() / theirs.square().sum()),
        },
    )  # fmt: skip


def _rank(one: Tensor, other: Tensor) -> float:
    return float(spearmanr(one.flatten().numpy(), other.flatten().numpy()).statistic)


def _timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def _ours(
    recipe: Recipe, module: nn.Module, rows: Data, target: Data, damping: float, seed: int, draws: int = 1
) -> Tensor:
    many = rows if draws == 1 else Data.from_arrays(rows.x.repeat(draws, 1), rows.y.repeat(draws))
    factors = ekfac(module, recipe.objective, many, seed=seed)
    return row_scores(module, recipe.objective, rows, target, factors, damping)


def _theirs(module: nn.Module, rows: Data, target: Data, damping: float, seed: int, draws: int = 1) -> Tensor:
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Digits(Task):
        def compute_train_loss(self, batch: list[Tensor], model: nn.Module, sample: bool = False) -> Tensor:
            logits = model(batch[0])
            if not sample:
                return F.cross_entropy(logits, batch[1], reduction="sum")
            if draws > 1:  # a loss whose gradient is the drawn one
                return (logits * Classification().drawn_gradients(logits.detach(), batch[1], generator)).sum()
            drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=generator).flatten()
            return F.cross_entropy(logits, drawn, reduction="sum")

        def compute_measurement(self, batch: list[Tensor], model: nn.Module) -> Tensor:
            return F.cross_entropy(model(batch[0]), batch[1], reduction="sum")

    generator, task = torch.Generator().manual_seed(seed), Digits()
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "digits", prepare_model(weights.clone(module), task), task, cpu=True, disable_tqdm=True, output_dir=folder
        )
        given, asked = (TensorDataset(data.x, data.y) for data in (rows, target))
        analyzer.fit_all_factors("ekfac", ConcatDataset([given] * draws), per_device_batch_size=512)
        analyzer.compute_pairwise_scores(
            "scores", "ekfac", asked, given, per_device_query_batch_size=360, per_device_train_batch_size=512,
            score_args=ScoreArguments(damping_factor=damping),
        )  # fmt: skip
        return analyzer.load_pairwise_scores("scores")["all_modules"].T.contiguous()


if __name__ == "__main__":
    main()
