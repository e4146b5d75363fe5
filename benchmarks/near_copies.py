"""Near copies: how alike texts of different people are, how alike edited texts stay, and how long 10,000 rows take.

The first two need TOFU's authors under ``$NEURALYZER_DATA`` (Maini et al. 2024, arXiv 2401.06121) and the extra
``language``; every pair is compared, without MinHash. The third takes texts of phrases that recur.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from benchmarks import results
from neuralyzer.data import near_copies
from neuralyzer.data.near_copies import jaccard
from neuralyzer.data.rows import Data

ROWS, ASKED, HOLDOUT, VOCABULARY = 10_000, 20, 1000, 8000
EDITED = (10, 8, 5)  # one word in so many is replaced


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    authors = Path(os.environ.get("NEURALYZER_DATA", "")) / "tofu" / "authors.jsonl"
    results.write("near_copies", {"seconds": seconds(), "tofu": tofu(authors) if authors.exists() else None})


def seconds() -> dict[str, float]:
    draw = np.random.default_rng(0)
    phrases = draw.integers(1, 30_000, (2000, 10))
    texts = [phrases[draw.integers(0, 2000, draw.integers(5, 20))].ravel() for _ in range(ROWS)]
    for place in range(100):  # near copies of the first hundred: three tokens changed
        copy = texts[place].copy()
        copy[draw.integers(0, len(copy), 3)] = 30_000
        texts[ROWS // 2 + place] = copy
    data = Data.from_tokens(texts, np.zeros(ROWS, int))
    began = time.perf_counter()
    found = near_copies.others(data, np.arange(ASKED))
    one = time.perf_counter()
    held = near_copies.pairs(data.select(np.arange(HOLDOUT)), data.select(np.arange(HOLDOUT, ROWS)))
    done = time.perf_counter()
    return {
        "rows": ROWS, "tokens": sum(map(len, texts)), "one_person_rows": ASKED, "one_person_s": round(one - began, 2),
        "one_person_found": len(found), "holdout_rows": HOLDOUT, "holdout_s": round(done - one, 2),
        "holdout_found": len(held),
    }  # fmt: skip


def tofu(path: Path) -> dict[str, object]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    rows = [json.loads(line) for line in path.read_text().splitlines()]
    own = Tokenizer(models.BPE())
    own.pre_tokenizer, alphabet = pre_tokenizers.ByteLevel(add_prefix_space=False), pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    own.train_from_iterator([f"{row['question']}\n{row['answer']}" for row in rows], trainer)

    def read(text: str) -> np.ndarray:
        return near_copies.shingles(np.array(own.encode(text).ids))

    answers, authors = [read(row["answer"]) for row in rows], [row["author"] for row in rows]
    closest = [
        max(jaccard(one, other) for other, its in zip(answers, authors, strict=True) if its != author)
        for one, author in zip(answers, authors, strict=True)
    ]
    draw, words = np.random.default_rng(0), sorted({word for row in rows for word in row["answer"].split()})
    edited = {}
    for share in EDITED:
        alike = []
        for row, answer in zip(rows, answers, strict=True):
            text = row["answer"].split()
            for place in draw.choice(len(text), max(1, len(text) // share), replace=False):
                text[place] = words[draw.integers(len(words))]
            alike.append(jaccard(answer, read(" ".join(text))))
        edited[f"one word in {share}"] = quantiles(alike, (0.05, 0.5))
    return {
        "answers": len(rows), "closest of another author": quantiles(closest, (0.5, 0.99, 1.0)), "edited": edited,
    }  # fmt: skip


def quantiles(values: list[float], at: tuple[float, ...]) -> dict[str, float]:
    return {f"{share:g}": round(float(np.quantile(values, share)), 2) for share in at}


if __name__ == "__main__":
    main()
