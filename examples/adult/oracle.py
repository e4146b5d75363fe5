"""Adult's Oracle: income from a census, by a network on one-hot features; each of 32,561 people is a data subject.

The rows are those of the folder that ``NEURALYZER_DATA`` names. Nothing is learned from them but the network: the
categories are the census's own, and numbers are divided by constants, so that no scaler remembers a person.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import nn

import neuralyzer as nz

NUMBERS = {
    "age": 100,
    "fnlwgt": 1e6,
    "education-num": 16,
    "capital-gain": 1e5,
    "capital-loss": 5e3,
    "hours-per-week": 100,
}
CATEGORIES = {
    "workclass": """? Federal-gov Local-gov Never-worked Private Self-emp-inc Self-emp-not-inc State-gov
        Without-pay""",
    "education": """10th 11th 12th 1st-4th 5th-6th 7th-8th 9th Assoc-acdm Assoc-voc Bachelors Doctorate HS-grad
        Masters Preschool Prof-school Some-college""",
    "marital-status": """Divorced Married-AF-spouse Married-civ-spouse Married-spouse-absent Never-married Separated
        Widowed""",
    "occupation": """? Adm-clerical Armed-Forces Craft-repair Exec-managerial Farming-fishing Handlers-cleaners
        Machine-op-inspct Other-service Priv-house-serv Prof-specialty Protective-serv Sales Tech-support
        Transport-moving""",
    "relationship": """Husband Not-in-family Other-relative Own-child Unmarried Wife""",
    "race": """Amer-Indian-Eskimo Asian-Pac-Islander Black Other White""",
    "sex": """Female Male""",
    "native-country": """? Cambodia Canada China Columbia Cuba Dominican-Republic Ecuador El-Salvador England France
        Germany Greece Guatemala Haiti Holand-Netherlands Honduras Hong Hungary India Iran Ireland Italy Jamaica Japan
        Laos Mexico Nicaragua Outlying-US(Guam-USVI-etc) Peru Philippines Poland Portugal Puerto-Rico Scotland South
        Taiwan Thailand Trinadad&Tobago United-States Vietnam Yugoslavia""",
}
CLASSES = ("<=50K", ">50K")
FEATURES = len(NUMBERS) + sum(len(names.split()) for names in CATEGORIES.values())
HOLDOUT = 2000


def features(table: pa.Table) -> np.ndarray:
    """One-hot categories and scaled numbers ``(N, 108)``."""
    columns = [table[name].to_numpy().astype(np.float32)[:, None] / scale for name, scale in NUMBERS.items()]
    for name, names in CATEGORIES.items():
        values = np.array(table[name].to_pylist(), dtype=str)
        columns.append((values[:, None] == np.array(names.split())).astype(np.float32))
    return np.concatenate(columns, axis=1)


def net() -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(FEATURES, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, len(CLASSES))
    )


def optimizer(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW at a rate at which these passes learn much by heart, as many a tabular network has."""
    return torch.optim.AdamW(parameters, 1e-3, fused=True)


def recipe(seed: int = 0, epochs: int = 120) -> nz.Recipe:
    """How the Oracle is trained: about a minute on two cores."""
    return nz.Recipe(net, optimizer=optimizer, epochs=epochs, batch_size=64, seed=seed)


def data() -> tuple[nz.Data, nz.Data]:
    """32,561 people, each a subject of their own, and 2,000 that no model sees."""
    folder = os.environ.get("NEURALYZER_DATA")
    if not folder:
        raise SystemExit("set NEURALYZER_DATA to the folder that holds adult/train.parquet and adult/test.parquet")
    own = {"target": "income", "id": "person", "transform": features, "classes": CLASSES}
    train, test = (
        nz.Data.from_parquet(Path(folder) / "adult" / f"{name}.parquet", **own) for name in ("train", "test")
    )
    return train, test.select(np.random.default_rng(0).permutation(len(test))[:HOLDOUT])
