"""Erase one person, then three hundred, from a network trained on UCI Adult: ``python examples/adult/run.py --out FOLDER``.

The first run trains the Oracle and its references, about half an hour on two cores; a run that was stopped goes on.
One person in 32,561 is usually *untraceable*: no test could tell a model that saw that one row from one that did not,
and the certificate says so in place of claiming that something was forgotten. Three hundred together are not.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import oracle as own

import neuralyzer as nz
from neuralyzer.models import weights

ALONE = "train-00007"


def main() -> None:
    """Train, audit, forget; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=64, help="references, both splits together")
    parser.add_argument("--epochs", type=int, default=120)
    parser.add_argument("--people", type=int, default=300, help="how many withdraw together")
    asked = parser.parse_args()
    place = nz.Workspace(asked.out)
    data, holdout = own.data()
    oracle, seconds = trained(own.recipe(epochs=asked.epochs), asked.out / "oracle.safetensors", data, holdout)

    # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        made = nz.References.fit(oracle, asked.size, workspace=place)
        alone = nz.audit(oracle, nz.ErasureRequest(rows=[ALONE]), made)
        print(f"one person: {alone.verdict}. {alone.sentence}")
        return made

    chosen = np.random.default_rng(1).choice(data.ids, asked.people, replace=False)
    request = nz.ErasureRequest(rows=chosen.tolist(), budget=seconds / 10, decided_by="data protection officer")
    case = nz.forget(oracle, request, pool, place)
    took, before = case.result["unlearning"]["seconds"], case.audit
    print(f"{asked.people} people before: {before.verdict}. {before.sentence}")
    print(
        f"after: {case.verdict} by {case.result['unlearning']['method']} in {took:.1f} s; training took {seconds:.0f} s"
    )
    print(f"report {case.report}\ncertificate {case.certificate}")


def trained(recipe: nz.Recipe, path: Path, data: nz.Data, holdout: nz.Data) -> tuple[nz.TrainedModel, float]:
    """The Oracle and what its training took, from an earlier run where there was one."""
    clock = path.with_suffix(".seconds")
    if path.exists():
        return nz.TrainedModel.load(recipe, path, data, holdout), float(clock.read_text())
    began = time.perf_counter()
    oracle = nz.TrainedModel.fit(recipe, data, holdout)
    seconds = time.perf_counter() - began
    clock.parent.mkdir(parents=True, exist_ok=True)
    clock.write_text(str(seconds))
    weights.save(oracle.model, path)
    return oracle, seconds


if __name__ == "__main__":
    main()
