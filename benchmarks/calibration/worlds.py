"""The worlds that the trace is tried in: data with subjects, a recipe, and the requests that are made of them.

Seeds below 10 were used while the statistics were built; what is reported comes from the others.
"""

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pyarrow import parquet
from sklearn.cluster import KMeans
from sklearn.datasets import make_friedman1
from sklearn.model_selection import cross_val_predict
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn

from neuralyzer.data.rows import Data
from neuralyzer.demo import digits
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.regression import Regression

Request = tuple[str, ...]  # subjects asked for together


@dataclass(frozen=True)
class World:
    """Data, recipe and requests.

    Attributes:
        name: of its folder.
        recipe: how all of its models are trained.
        data: training rows with subjects.
        holdout: rows that no model sees.
        requests: each a tuple of subjects.
        retrained: models really retrained without the rows, a request.
        originals: models trained on all rows.
        shares: shares of the rows that further models keep; a model each and request.
        unlearned: by method, how many of the requests it is tried on, the first ones; all where it is not named.
        size: members of both splits.
        leave_out: share of the subjects that a member lacks; None for the default.
        seed: of its pool.
        pool_of: world whose pool serves this one too; None for its own.
        models_of: world whose models are read again with this one's pool; None for its own.
    """

    name: str
    recipe: Recipe
    data: Data
    holdout: Data
    requests: tuple[Request, ...]
    retrained: int = 7
    originals: int = 4
    shares: tuple[float, ...] = ()
    unlearned: tuple[tuple[str, int], ...] = ()
    size: int = 64
    leave_out: float | None = None
    seed: int = 0
    pool_of: str | None = None
    models_of: str | None = None


def _plain(seed: int, name: str | None = None, **changes: object) -> World:
    """The demo's world of another seed: 30 customers of 17 to 97 rows."""
    data, holdout = digits.digits(seed)
    every = tuple((str(subject),) for subject in np.unique(data.subjects))
    world = World(name or f"digits-{seed}", digits.recipe(seed), data, holdout, every, seed=seed)
    return replace(world, **changes)  # type: ignore[arg-type]


def _named(seed: int, name: str, choose: Callable[..., np.ndarray], requests: Sequence[str], **changes) -> World:
    """Digits with other subjects (or labels): ``choose(x, y, subjects, generator)`` gives them."""
    data, holdout = digits.digits(seed)
    x, y = data.x.numpy(), data.y.numpy()
    generator = np.random.default_rng(seed)
    subjects = choose(x, y, data.subjects.copy(), generator)
    labels = changes.pop("labels", None)
    if labels is not None:
        y = labels(y, subjects, generator)
    own = Data.from_arrays(x, y, subjects, data.ids)
    asked = tuple((name_,) for name_ in requests)
    return replace(World(name, digits.recipe(seed), own, holdout, asked, seed=seed), **changes)


HARD = [f"hard-{k}" for k in range(5)]


def _hard(x: np.ndarray, y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Five subjects of 40 rows that own the rows of the lowest margin, as networks that never saw them read it."""
    net = MLPClassifier((64,), max_iter=60, early_stopping=False, random_state=0, tol=0.0)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge to tell hard rows
        p = cross_val_predict(net, x, y, cv=5, method="predict_proba")[np.arange(len(y)), y]
    lowest = np.argsort(p, kind="stable")[:200]
    subjects = subjects.astype(object)
    subjects[generator.permutation(lowest)] = np.repeat(HARD, 40)
    return subjects.astype(str)


WRONG = [f"customer-{k:02d}" for k in (3, 8, 13, 18, 23)]


def _relabelled(y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """All rows of five customers get a wrong label."""
    wrong = np.isin(subjects, WRONG)
    shifted = (y + generator.integers(1, 10, len(y))) % 10
    return np.where(wrong, shifted, y)


def _clusters(
    count: int, x: np.ndarray, y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Each subject is one cluster of pixels: nobody else's rows resemble theirs."""
    found = KMeans(count, n_init=4, random_state=int(generator.integers(1 << 30))).fit_predict(x)
    return np.array([f"cluster-{k:02d}" for k in found])


def _siblings(x: np.ndarray, y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Ten clusters, each split at random into three subjects that stand in for each other."""
    found = KMeans(10, n_init=4, random_state=int(generator.integers(1 << 30))).fit_predict(x)
    return np.array([f"family-{k}-{generator.integers(3)}" for k in found])


def _large(x: np.ndarray, y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One subject owns 20 % of the rows."""
    subjects = subjects.astype(object)
    subjects[generator.choice(len(y), len(y) // 5, replace=False)] = "large"
    return subjects.astype(str)


SMALL = {rows: [f"of-{rows}-{k:02d}" for k in range(20)] for rows in (1, 2, 5)}


def _small(x: np.ndarray, y: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Twenty subjects each of 1, 2 and 5 rows among the customers."""
    subjects = subjects.astype(object)
    order = generator.permutation(len(y))
    at = 0
    for rows, names in SMALL.items():
        for name in names:
            subjects[order[at : at + rows]] = name
            at += rows
    return subjects.astype(str)


def _triples(seed: int) -> World:
    """Three unrelated customers at once."""
    world = _plain(seed, f"three-{seed}")
    names = np.random.default_rng(seed + 500).permutation(np.unique(world.data.subjects))
    asked = tuple(tuple(sorted(str(n) for n in names[3 * k : 3 * k + 3])) for k in range(5))
    return replace(world, requests=asked, retrained=3, originals=0, pool_of=f"digits-{seed}")


def batchnorm_net() -> nn.Module:
    """The demo's network with batch normalisation."""
    return nn.Sequential(
        nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(),
        nn.Linear(128, 10),
    )  # fmt: skip


def shaken(x: Tensor, generator: torch.Generator) -> Tensor:
    """Augmentation of digits: a little noise, and half of the images shifted by a pixel to either side."""
    image = x.reshape(-1, 8, 8)
    step = int(torch.randint(-1, 2, (1,), generator=generator))
    moved = torch.where(torch.rand(len(x), 1, 1, generator=generator) < 0.5, torch.roll(image, step, 2), image)
    return (moved + 0.05 * torch.randn(image.shape, generator=generator)).reshape(x.shape)


def _batchnorm(seed: int) -> World:
    """BatchNorm and augmentation; sizes are multiples of the batch, so that none has a last batch of one row."""
    data, holdout = digits.digits(seed)
    generator = np.random.default_rng(seed)
    chosen = np.sort(generator.permutation(len(data))[: 44 * 32])
    own = data.select(chosen)
    sizes = [1] * 14 + [2] * 15
    blocks = np.repeat([f"customer-{k:02d}" for k in range(29)], sizes)
    subjects = np.repeat(blocks, 32)
    generator.shuffle(subjects)
    own = Data.from_arrays(own.x.numpy(), own.y.numpy(), subjects, own.ids)
    recipe = Recipe(batchnorm_net, optimizer=partial(_adamw, rate=1e-3), epochs=60, batch_size=32, augment=shaken)
    asked = tuple((f"customer-{k:02d}",) for k in range(10, 20))
    return World(f"batchnorm-{seed}", recipe, own, holdout, asked, retrained=5, originals=2, seed=seed)


def _adamw(parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, rate, fused=True)


def regression_net() -> nn.Module:
    """A network for ten features."""
    return nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))


def _regression(seed: int) -> World:
    """Friedman's first benchmark (Friedman 1991) with noise of 2, 25 subjects of about 56 rows."""
    x, y = make_friedman1(1800, n_features=10, noise=2.0, random_state=seed)
    x, y = x.astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)
    generator = np.random.default_rng(seed)
    names = [f"customer-{k:02d}" for k in range(25)]
    ids = np.array([f"row-{k}" for k in range(1800)])
    data = Data.from_arrays(x[:1400], y[:1400], generator.choice(names, 1400), ids[:1400])
    holdout = Data.from_arrays(x[1400:], y[1400:], ids=ids[1400:])
    recipe = Recipe(regression_net, Regression(), partial(_adamw, rate=1e-3), epochs=60, batch_size=32, seed=seed)
    return World(
        f"regression-{seed}",
        recipe,
        data,
        holdout,
        tuple((n,) for n in names[:10]),
        retrained=5,
        originals=2,
        seed=seed,
    )


def cnn() -> nn.Module:
    """A small convolutional network for 32 x 32 colour images."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(),
        nn.Linear(64, 10),
    )  # fmt: skip


def _images(path: Path, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    table = parquet.read_table(path)
    chosen = np.sort(generator.permutation(len(table))[:count])
    cells = table["image"].take(chosen).to_pylist()
    x = np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in cells])
    y = table["label"].take(chosen).to_numpy().astype(np.int64)
    return ((x.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.47) / 0.25), y


def _cifar(seed: int) -> World:
    """CIFAR-10: 5,000 images of 100 subjects, 1,000 holdout images of the test set."""
    folder = Path(os.environ["NEURALYZER_DATA"]) / "cifar10"
    generator = np.random.default_rng(seed)
    x, y = _images(folder / "train.parquet", 5000, generator)
    subjects = np.repeat([f"owner-{k:03d}" for k in range(100)], 50)
    generator.shuffle(subjects)
    data = Data.from_arrays(x, y, subjects, [f"train-{k}" for k in range(5000)])
    x, y = _images(folder / "test.parquet", 1000, generator)
    holdout = Data.from_arrays(x, y, ids=[f"test-{k}" for k in range(1000)])
    recipe = Recipe(cnn, optimizer=partial(_adamw, rate=2e-3), epochs=12, batch_size=50, seed=seed)
    asked = tuple((f"owner-{k:03d}",) for k in range(20))
    # One influence step takes ten retrainings of this small network, and no plan picks it here.
    few = (("influence", 2),)
    return World(f"cifar10-{seed}", recipe, data, holdout, asked, retrained=2, originals=1, unlearned=few, seed=seed)


def _variant(seed: int, size: int, kept: float) -> World:
    """The same customers, with another pool."""
    return _plain(
        seed, f"pool-{size // 2}-{kept:.2f}", size=size, leave_out=1 - kept, retrained=2, models_of=f"digits-{seed}"
    )


BUILDERS: dict[str, Callable[[], World]] = {
    **{f"digits-{seed}": partial(_plain, seed) for seed in (1, 2)},
    **{f"digits-{seed}": partial(_plain, seed, shares=(0.25, 0.5, 0.75)) for seed in (11, 12)},
    "digits-13": partial(_plain, 13),
    "cifar10-14": partial(_cifar, 14),
    "hard": partial(_named, 15, "hard", _hard, HARD, retrained=8),
    "wrong-labels": partial(_named, 16, "wrong-labels", lambda x, y, s, g: s, WRONG, retrained=8, labels=_relabelled),
    "clusters": partial(
        _named, 17, "clusters", partial(_clusters, 30), [f"cluster-{k:02d}" for k in range(0, 30, 3)], retrained=5
    ),
    "large": partial(_named, 18, "large", _large, ["large"], retrained=32),
    **{f"three-{seed}": partial(_triples, seed) for seed in (11, 12, 13)},
    **{
        f"siblings-{seed}": partial(_named, seed, f"siblings-{seed}", _siblings, [], retrained=0, originals=0)
        for seed in (3, 19, 20)
    },
    "batchnorm-22": partial(_batchnorm, 22),
    "regression-23": partial(_regression, 23),
    "small": partial(_named, 24, "small", _small, [n for names in SMALL.values() for n in names], retrained=1),
    **{
        f"pool-{members}-{kept}": partial(_variant, 11, 2 * members, kept)
        for members, kept in ((16, 0.62), (32, 0.75), (64, 0.90))
    },
}


def world(name: str) -> World:
    """A world by name."""
    return BUILDERS[name]()


def request_name(request: Request) -> str:
    """A request as a folder's name."""
    return "+".join(request)
