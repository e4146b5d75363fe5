"""A project whose model is trained by the user's own command, from training to the certificate."""

import sys

import pytest

ORACLE = """
from pathlib import Path

from torch import nn

import neuralyzer as nz

HERE = Path(__file__).parent
recipe = nz.Recipe(
    lambda: nn.Linear(64, 10),
    command=f"{python} {{HERE / 'train_it.py'}} --rows {{{{rows}}}} --seed {{{{seed}}}} --out {{{{weights}}}}",
)
"""

TRAIN_IT = """
import argparse
from pathlib import Path

import numpy as np
from pyarrow import parquet
from safetensors.numpy import save_file

parser = argparse.ArgumentParser()
for name in ("--rows", "--seed", "--out"):
    parser.add_argument(name, required=True)
asked = parser.parse_args()
here = Path(__file__).parent
table = parquet.read_table(here / "train.parquet")
place = {row: at for at, row in enumerate(table["row_id"].to_pylist())}
chosen = [place[row] for row in parquet.read_table(asked.rows)["id"].to_pylist()]
x = np.column_stack([table[f"p{at}"].to_numpy() for at in range(64)])[chosen]
y = np.eye(10)[table["label"].to_numpy()[chosen]]
generator = np.random.default_rng(int(asked.seed))
weight, bias = 0.05 * generator.normal(size=(10, 64)), np.zeros(10)
for _ in range(60):
    for batch in np.array_split(generator.permutation(len(x)), len(x) // 25):
        scores = x[batch] @ weight.T + bias
        chances = np.exp(scores - scores.max(1, keepdims=True))
        error = (chances / chances.sum(1, keepdims=True) - y[batch]) / len(batch)
        weight -= 2.0 * error.T @ x[batch]
        bias -= 2.0 * error.sum(0)
save_file({"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}, asked.out)
with (here / "calls.txt").open("a") as calls:
    calls.write(f"{asked.seed} {len(chosen)} {'r0' in place and place['r0'] in chosen}\\n")
"""


def calls(project):
    return [line.split() for line in project.path("calls.txt").read_text().splitlines()]


@pytest.mark.slow
def test_from_training_to_the_certificate(files):
    files.path("oracle.py").write_text(ORACLE.format(python=sys.executable))
    files.path("train_it.py").write_text(TRAIN_IT)
    assert files("init", "--id", "row_id", "--json").code == 0
    trained = files("train", "--json").json
    assert trained["utility"] > 0.85 and calls(files) == [["0", "500", "True"]]
    pool = files("references", "--size", "16", "--json").json
    assert pool["size"] == 16 and pool["reproduction"]["reason"] is None
    assert "its own training code" in pool["backend"]
    members = calls(files)[1:]
    assert len(members) == 16 and len({seed for seed, *_ in members}) == 16
    assert all(int(rows) < 500 for _, rows, _ in members)
    audited = files("audit", "--subject", "c0", "--json").json
    assert {family["signal"] for family in audited["families"]} >= {"margin", "augmented", "correct", "fisher"}
    answer = files("forget", "--subject", "c0", "--method", "retrain", "--json").json
    assert answer["verification"]["verdict"] == "forgotten" and answer["verification"]["basis"] == "exact"
    assert answer["unlearning"]["attempts"][-1]["method"] == "retrain"
    left = 500 - answer["located"]["rows"]
    assert calls(files)[-1][:2] == ["0", str(left)]
    verified = files("certificate", "verify", answer["certificate"], "--json")
    assert verified.code == 0
    again = files("certificate", "reproduce", answer["case"], "--json").json
    assert again["outcome"] == "reproduced" and again["weights"] and calls(files)[-1] == calls(files)[-2]
