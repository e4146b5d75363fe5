"""Erase one of a hundred people from a network trained on CIFAR-10: ``python examples/cifar10/run.py --out FOLDER``.

The first run trains the Oracle and its references, about half an hour on two cores; a run that was stopped goes on.
"""

import argparse
import time
from pathlib import Path

import oracle as own

import neuralyzer as nz
from neuralyzer.models import weights

PERSON = "person-007"


def main() -> None:
    """Train, audit, forget; say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--size", type=int, default=32, help="references, both splits together")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--person", default=PERSON)
    asked = parser.parse_args()
    place = nz.Workspace(asked.out)
    data, holdout = own.data()
    oracle, seconds = trained(own.recipe(epochs=asked.epochs), asked.out / "oracle.safetensors", data, holdout)

    # asked for only while the case is open: once it is closed, its rows are no longer there
    def pool() -> nz.References:
        return nz.References.fit(oracle, asked.size, workspace=place)

    request = nz.ErasureRequest(subjects=[asked.person], budget=seconds / 10, decided_by="data protection officer")
    case = nz.forget(oracle, request, pool, place)
    took, verdict = case.result["unlearning"]["seconds"], case.verdict
    print(
        f"{asked.person}: {verdict} by {case.result['unlearning']['method']} in {took:.1f} s; training took {seconds:.0f} s"
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
