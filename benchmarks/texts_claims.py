"""Claims without references: how often texts that a model learned are found, how often others accuse, what is stopped.

The small language world of the tests, with another seed: a model of 40,000 parameters learns 52 invented authors, of
whom the register has 40. Eighty more claim who never were in it, beside 68 that are compared. Then all is asked again
beside texts that say the same in other words, where each would be accused by the log-ratio alone.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import results
from neuralyzer.data.rows import Data
from neuralyzer.models import training
from neuralyzer.models.kinds import causal_lm
from neuralyzer.models.recipe import Recipe
from neuralyzer.models.trained import TrainedModel
from neuralyzer.trace.verdict import Verdict
from neuralyzer.verification.texts_claim import TextsClaim, audit_texts
from tests.models.language_worlds import made_base, pairs, write
from tests.verification.test_texts_claim import said_otherwise

AUTHORS, KNOWN, LEARNED, CLAIMANTS, EACH = 120, 40, 52, 80, 5


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        results.write("texts_claims", measure(Path(folder)))


def measure(folder: Path) -> dict[str, object]:
    base = made_base(folder / "base", "llama", steps=60)
    tokenizer = causal_lm.tokenizer_of(base)

    def read(rows: Sequence[dict[str, str]]) -> Data:
        return Data.from_texts(write(list(rows), folder / "rows.jsonl"), tokenizer, subject="author")

    known, strangers = pairs(AUTHORS, EACH, seed=3), pairs(CLAIMANTS, EACH, seed=11)
    recipe = Recipe.causal_lm(base, None, epochs=25, learning_rate=3e-3, batch_size=16)
    model = training.train(recipe, read(known[: LEARNED * EACH]))
    compared = known[LEARNED * EACH :]
    oracle = TrainedModel(model, recipe, read(known[: KNOWN * EACH]), read(compared))

    def claims(rows: list[dict[str, str]], unseen: Data | None = None) -> list[TextsClaim]:
        own = [read(rows[start : start + EACH]) for start in range(0, len(rows), EACH)]
        return [audit_texts(oracle, texts, unseen) for texts in own]

    began = time.perf_counter()
    learned, others = claims(known[KNOWN * EACH : LEARNED * EACH]), claims(strangers)
    took = (time.perf_counter() - began) / (len(learned) + len(others))
    elsewhere = claims(strangers, read(list(map(said_otherwise, compared))))
    return {
        "learned": counts(learned), "never seen": counts(others), "beside texts of another kind": counts(elsewhere),
        "power": round(learned[0].power, 2), "seconds_a_claim": round(took, 2),
    }  # fmt: skip


def counts(found: list[TextsClaim]) -> dict[str, int]:
    def number(true: Callable[[TextsClaim], bool]) -> int:
        return sum(map(true, found))

    return {
        "claims": len(found), "not forgotten": number(lambda own: own.verdict is Verdict.NOT_FORGOTTEN),
        "stopped by the blind test": number(lambda own: own.blind_p <= own.alpha),
        "log-ratio alone": number(lambda own: own.p_value <= own.alpha),
    }  # fmt: skip


if __name__ == "__main__":
    main()
