"""LiRA and RMIA written a second time, plainly and from the papers, held against the product's on the same models.

It shares nothing with ``neuralyzer.attacks``: confidences come from the stored outputs, not from a signal; every
target's statistics are computed anew, row by row; curves are walked one score at a time. Its AUC and TPR must lie
within the product's intervals (and do so by far more: the scores are the same but for rounding). The pool is kept in
``--workspace`` and reused.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import results
from neuralyzer.attacks.evaluation import on_members
from neuralyzer.demo import digits
from neuralyzer.demo.run import train_oracle
from neuralyzer.progress import Silent
from neuralyzer.references.pool import References
from neuralyzer.workspace.paths import Workspace

RATES = (0.01, 0.001)
CORRECTION = 0.3  # RMIA's a
WORST = 1e-3  # by which figures may differ: a rounded score that changes places with its neighbour


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, default=Path(tempfile.gettempdir()) / "neuralyzer-benchmarks")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    pool = _pool(options.workspace / f"digits-{options.seed}", options.seed)
    split = pool.evaluation.values
    began = time.perf_counter()
    product = {(own.attack, own.unit): own.roc for own in on_members.__wrapped__(split, True)}
    seconds = {"product, intervals included": time.perf_counter() - began}
    began = time.perf_counter()
    plain = _figures(*_readings(pool))
    seconds["plain loops, no intervals"] = time.perf_counter() - began
    table, worst, inside = {}, 0.0, True
    for (attack, unit), figures in plain.items():
        told = product[attack, unit]
        pairs = [(figures["auc"], told.auc)] + [(figures[f"tpr_{rate}"], told.tpr[rate]) for rate in RATES]
        for mine, theirs in pairs:
            if theirs.value is not None:
                worst = max(worst, abs(mine - theirs.value))
                inside = inside and theirs.low <= mine <= theirs.high
        table[f"{attack} by {unit}"] = {"plain": figures, "product": told.to_dict()}
    results.write(
        "attacks",
        {"members": split.members, "seconds": seconds, "largest_difference": worst, "within_intervals": inside,
         "attacks": table},
    )  # fmt: skip
    assert inside and worst < WORST, f"the product's figures differ by {worst:.4f}"


def _pool(folder: Path, seed: int) -> References:
    place = Workspace(folder)
    data, holdout = digits.digits(seed)
    oracle = train_oracle(place, digits.recipe(seed), data, holdout, Silent())
    return References.fit(oracle, 64, workspace=place, backend="vectorised", seed=10_000 + 1000 * seed)


def _readings(pool: References) -> tuple[np.ndarray, ...]:
    """Probability and logit of each row's own class, for training rows and holdout; who held what; whose it is."""
    data, holdout = pool.oracle.data, pool.oracle.require_holdout()
    members = np.arange(1, pool.size, 2)
    width = pool.head["outputs"]
    logits = pool.store.array("outputs.rows", (pool.size, len(data), width))[members].astype(float)
    beyond = pool.store.array("outputs.holdout", (pool.size, len(holdout), width))[members].astype(float)
    keep = pool.store.load("keep.npy")[members]
    confidence, phi = _confidence(logits, np.asarray(data.y))
    outside, _ = _confidence(beyond, np.asarray(holdout.y))
    return confidence, phi, outside, keep[:, pool.owners], pool.owners


def _confidence(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``p_y`` by the softmax, and ``log p_y - log(1 - p_y)`` with ``1 - p_y`` summed over the other classes."""
    shifted = np.exp(logits - logits.max(2, keepdims=True))
    own = np.take_along_axis(shifted, labels[None, :, None], 2)[..., 0]
    others = np.where(labels[:, None] == np.arange(logits.shape[2]), 0.0, shifted).sum(2)
    return own / (own + others), np.log(own) - np.log(others)


def _figures(
    confidence: np.ndarray, phi: np.ndarray, outside: np.ndarray, held: np.ndarray, owner: np.ndarray
) -> dict[tuple[str, str], dict[str, float]]:
    targets, rows = phi.shape
    members: dict[tuple[str, str], list[float]] = {}
    others: dict[tuple[str, str], list[float]] = {}
    for target in range(targets):
        scores = _attack(confidence, phi, outside, held, target)
        for name, own in scores.items():
            for row in range(rows):
                (members if held[target, row] else others).setdefault((name, "row"), []).append(own[row])
            for subject in range(owner.max() + 1):
                its = [row for row in range(rows) if owner[row] == subject]
                side = members if held[target, its[0]] else others
                side.setdefault((name, "subject"), []).append(round(math.fsum(own[row] for row in its) / len(its), 9))
    return {key: _roc(members[key], others[key]) for key in members}


def _attack(
    confidence: np.ndarray, phi: np.ndarray, outside: np.ndarray, held: np.ndarray, target: int
) -> dict[str, list[float]]:
    """Every score of one target's rows; the shadow models are all the others."""
    shadows = [model for model in range(len(phi)) if model != target]
    inside = [[m for m in shadows if held[m, row]] for row in range(phi.shape[1])]
    without = [[m for m in shadows if not held[m, row]] for row in range(phi.shape[1])]
    # LiRA, algorithm 1; with fewer than 64 shadow models one global variance for each side.
    mean_in = [phi[own, row].mean() for row, own in enumerate(inside)]
    mean_out = [phi[own, row].mean() for row, own in enumerate(without)]
    variance_in, variance_out = _variance(phi, inside, mean_in), _variance(phi, without, mean_out)
    found: dict[str, list[float]] = {"lira-online": [], "lira-offline": [], "rmia-online": [], "rmia-offline": []}
    # RMIA: p(z|theta) / p(z) of the population, with p(z) over the reference models, none of which saw z.
    p_z = [outside[shadows, z].mean() for z in range(outside.shape[1])]
    ratio_z = np.array([outside[target, z] / p for z, p in enumerate(p_z)])
    offline_z = np.array(
        [outside[target, z] / (((1 + CORRECTION) * p + 1 - CORRECTION) / 2) for z, p in enumerate(p_z)]
    )
    for row in range(phi.shape[1]):
        x = phi[target, row]
        log_in = -0.5 * math.log(2 * math.pi * variance_in) - (x - mean_in[row]) ** 2 / (2 * variance_in)
        log_out = -0.5 * math.log(2 * math.pi * variance_out) - (x - mean_out[row]) ** 2 / (2 * variance_out)
        found["lira-online"].append(log_in - log_out)
        tail = 0.5 * math.erfc((x - mean_out[row]) / math.sqrt(2 * variance_out))
        found["lira-offline"].append(-math.log(tail) if tail > 0 else math.inf)
        p_in, p_out = confidence[inside[row], row].mean(), confidence[without[row], row].mean()
        online = confidence[target, row] / ((p_in + p_out) / 2)
        offline = confidence[target, row] / (((1 + CORRECTION) * p_out + 1 - CORRECTION) / 2)
        found["rmia-online"].append(float(np.mean(online / ratio_z >= 1)))
        found["rmia-offline"].append(float(np.mean(offline / offline_z >= 1)))
    return found


def _variance(phi: np.ndarray, groups: list[list[int]], means: list[float]) -> float:
    squares = sum(float(((phi[own, row] - means[row]) ** 2).sum()) for row, own in enumerate(groups))
    return squares / sum(len(own) - 1 for own in groups)


def _roc(members: list[float], others: list[float]) -> dict[str, float]:
    """Walk down the scores, those that are equal together; trapezoids for the area."""
    marked = sorted([(s, 1) for s in members] + [(s, 0) for s in others], reverse=True)
    true = false = area = 0.0
    best = dict.fromkeys(RATES, 0.0)
    place = 0
    while place < len(marked):
        before_true, before_false, score = true, false, marked[place][0]
        while place < len(marked) and marked[place][0] == score:
            true, false = true + marked[place][1], false + 1 - marked[place][1]
            place += 1
        area += (false - before_false) * (true + before_true) / 2
        for rate in RATES:
            if false <= rate * len(others) + 1e-9:
                best[rate] = true / len(members)
    return {"auc": area / len(members) / len(others)} | {f"tpr_{rate}": best[rate] for rate in RATES}


if __name__ == "__main__":
    main()
