"""What many rows of text need: seconds a step and the peak of memory, in one process."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from benchmarks import results
from benchmarks.large import peak_bytes
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--child", type=Path, help="the folder of the data; used by the benchmark itself")
    parser.add_argument("--fill", action="store_true", help="only make the data in that folder")
    options = parser.parse_args(argv)
    if options.child is not None:
        if options.fill:
            fill(options.child / "rows.jsonl", options.rows)
        else:
            print(json.dumps(steps(options.child)))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.large_texts", "--rows", str(options.rows), "--child", folder]
        # made in a process of its own, for a child's peak begins with what its parent has in memory
        subprocess.run([*command, "--fill"], check=True)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        written = (Path(folder) / "rows.jsonl").stat().st_size
    measured = json.loads(done.stdout.splitlines()[-1])
    results.write("large_texts", {"rows": options.rows, "file_bytes": written, **measured})


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
    found: dict[str, dict[str, float]] = {}
    began = time.perf_counter()

    def note(name: str) -> None:
        nonlocal began
        found[name] = {"seconds": round(time.perf_counter() - began, 2), "peak_bytes": peak_bytes()}
        print(name, found[name], file=sys.stderr)
        began = time.perf_counter()

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
    return {"steps": found, "answer_tokens": tokens, "digest": data.digest, "peak_bytes": peak_bytes()}


if __name__ == "__main__":
    main()
