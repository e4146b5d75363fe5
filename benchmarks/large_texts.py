"""What many rows of text need: seconds a step and the peak of memory, in one process."""

import json
import zlib
from pathlib import Path

import numpy as np

from benchmarks import in_steps
from neuralyzer.data.rows import Data

MEDIAN, SPREAD, LONGEST = 120, 0.8, 512  # tokens of a row: log-normal, cut at the most that from_texts takes
WORDS = 5_000
BATCH = 64
BATCHES = 2_000  # of rows that are read in random order


class WordTokenizer:
    """A tokenizer of a token a word, so that no library's memory is measured."""

    eos_token_id = 0

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the tokens of a text."""
        return [1 + zlib.crc32(word.encode()) % 32_000 for word in text.split()]


def main(argv: list[str] | None = None) -> None:
    in_steps.run(argv, __doc__, "large_texts", 1_000_000, "rows.jsonl", fill, steps)


def fill(path: Path, rows: int) -> None:
    """Write questions and answers of words that are drawn."""
    generator = np.random.default_rng(0)
    words = np.array([f"w{number}" for number in range(WORDS)])
    with path.open("w") as file:
        for row in range(rows):
            count = int(min(LONGEST - 24, generator.lognormal(np.log(MEDIAN), SPREAD)) + 1)
            said = words[generator.integers(WORDS, size=20 + count)].tolist()
            file.write(json.dumps({
                "customer": f"customer-{row % max(1, rows // 10)}", "id": f"row-{row}",
                "prompt": " ".join(said[:20]), "completion": " ".join(said[20:]),
            }) + "\n")  # fmt: skip


def steps(folder: Path) -> dict[str, object]:
    """Each step in turn, with the peak of memory after it."""
    noted = in_steps.Steps()
    note, found = noted.note, noted.found
    note("import")
    data = Data.from_texts(folder / "rows.jsonl", WordTokenizer(), subject="customer", id="id", max_length=LONGEST)
    note("open")
    order = np.random.default_rng(0).permutation(len(data))
    for start in range(0, min(len(data), BATCH * BATCHES), BATCH):
        data.gather(order[start : start + BATCH])
    note(f"read {BATCHES:,} batches of {BATCH}")
    assert data.digest
    note("digest")
    tokens = int(data.y.sum())
    return {"steps": found, "answer_tokens": tokens, "digest": data.digest, "peak_bytes": in_steps.peak_bytes()}


if __name__ == "__main__":
    main()
