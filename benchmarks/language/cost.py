"""What language models of 1B, 8B and 70B parameters cost with LoRA: computed, not run.

``python -m benchmarks.language.cost`` prints the tables of ``docs/language-model.md``; ``--write`` puts them there and
``--check`` says whether they are there. Floating-point operations are 6 N a trained token (2 forward, 4 backward; with
a frozen base 2 forward, 2 backward and 2 to make activations again) and 2 N a token that is read (Kaplan et al. 2020,
arXiv 2001.08361). How many tokens a reading passes comes from the library's own constants.
"""

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from neuralyzer.influence.kept import ROWS
from neuralyzer.methods.strong.influence import DIFFERENCE, TEXT_PRODUCTS, TEXTS
from neuralyzer.references.design import share_for
from neuralyzer.signals.augmented import TEXT_COPIES
from neuralyzer.signals.relearned import HOLDOUT_TEXTS
from neuralyzer.signals.relearning import STEPS

PAGE = Path(__file__).parents[2] / "docs/language-model.md"
TRAINED, READ = 6, 2  # operations a parameter and token
FACTOR_PASSES = 2  # gradients that EKFAC factors take of each sampled row: covariances, then eigenvalues
GPU, CPU = 989e12 * 0.4, 1e12  # operations a second: an H100 in bfloat16 at 40 %, and a server's processor; assumed
GPU_MEMORY = 80e9
BFLOAT16, ADAM = 2, 16  # bytes of a frozen weight; of a trained one in float32: weight, gradient and two moments
KEPT_ACTIVATIONS, LAYER_ACTIVATIONS = 2, 34  # bytes a token and width: between layers; within one (arXiv 2205.05198)
LOGITS = 3 * 4 * 2**26  # bytes of a piece of logits, its gradient and a copy (models.language.LOGITS)
GPUS = (1, 8)


@dataclass(frozen=True)
class Architecture:
    """A Llama: the sizes that its configuration has."""

    name: str
    width: int
    inner: int
    layers: int
    heads: int
    groups: int  # heads of keys and values
    words: int = 128_256
    tied: bool = False

    @property
    def matrices(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each linear layer in a block."""
        keys = self.width // self.heads * self.groups
        attention = [(self.width, self.width), (self.width, keys), (self.width, keys), (self.width, self.width)]
        return [*attention, (self.width, self.inner), (self.width, self.inner), (self.inner, self.width)]

    @property
    def parameters(self) -> int:
        block = sum(rows * columns for rows, columns in self.matrices) + 2 * self.width
        embeddings = self.words * self.width * (1 if self.tied else 2)
        return self.layers * block + embeddings + self.width

    def adapters(self, rank: int) -> int:
        return self.layers * rank * sum(rows + columns for rows, columns in self.matrices)


MODELS = (
    Architecture("1B", 2048, 8192, 16, 32, 8, tied=True),
    Architecture("8B", 4096, 14336, 32, 32, 8),
    Architecture("70B", 8192, 28672, 80, 64, 8),
)


@dataclass(frozen=True)
class Work:
    """A fine-tuning, its references and a request; the defaults are those of the docs."""

    subjects: int = 500
    rows_each: int = 20
    holdout: int = 500
    tokens: int = 500  # of a row
    epochs: int = 3
    rank: int = 16
    members: int = 32
    batch_tokens: int = 4096
    share: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "share", share_for(self.members // 2))

    @property
    def rows(self) -> int:
        return self.subjects * self.rows_each

    def training(self, model: Architecture) -> float:
        """Operations of training a model on all rows."""
        return TRAINED * model.parameters * self.rows * self.tokens * self.epochs

    def relearning(self, model: Architecture) -> float:
        """Operations of relearning one subject: from each half of its rows, read on the other and on the holdout."""
        half = self.rows_each / 2
        passes = TRAINED * STEPS * half + READ * (half + min(HOLDOUT_TEXTS, self.holdout))
        return 2 * passes * model.parameters * self.tokens

    def plain_reading(self, model: Architecture, rows: int) -> float:
        """Operations of reading rows and holdout, as they are and with tokens of the prompt replaced."""
        return READ * model.parameters * (1 + TEXT_COPIES) * (rows + self.holdout) * self.tokens

    def reading_member(self, model: Architecture) -> float:
        return self.plain_reading(model, self.rows) + self.subjects * self.relearning(model)

    def audit(self, model: Architecture) -> float:
        return self.plain_reading(model, self.rows_each) + self.relearning(model)

    def influence(self, model: Architecture) -> float:
        """Operations of influence's step: the forget rows' gradient, and products by differences over a sample."""
        gradients = self.rows_each + DIFFERENCE * TEXT_PRODUCTS * TEXTS
        return TRAINED * model.parameters * gradients * self.tokens

    def factoring(self, model: Architecture) -> float:
        """Operations of the EKFAC factors without their eigenvectors, once for a pool."""
        return TRAINED * FACTOR_PASSES * model.parameters * min(ROWS, self.rows) * self.tokens

    def memory(self, model: Architecture, gpus: int) -> float:
        """Peak bytes of each GPU in training; base, adapters and moments are sharded, activations are each one's own."""
        weights = BFLOAT16 * model.parameters + ADAM * model.adapters(self.rank)
        between = KEPT_ACTIVATIONS * model.layers + LAYER_ACTIVATIONS
        gathered = 0 if gpus == 1 else 2 * BFLOAT16 * sum(rows * columns for rows, columns in model.matrices)
        return weights / gpus + gathered + self.batch_tokens * model.width * between + LOGITS


def hours(operations: float, rate: float) -> str:
    seconds = operations / rate
    for limit, size, unit in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.2g} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def tables(work: Work) -> str:
    """Memory and time, each a column a model and number of GPUs, as Markdown."""
    columns = [(model, gpus) for model in MODELS for gpus in GPUS]
    heads = [f"{model.name}, {gpus} GPU{'s' if gpus > 1 else ''}" for model, gpus in columns]

    def line(name: str, cells: list[str]) -> str:
        return f"| {name} | {' | '.join(cells)} |"

    def timed(operations: str, times: float = 1) -> list[str]:
        return [
            hours(times * getattr(work, operations)(model), gpus * GPU) if fits(work, model, gpus) else "does not fit"
            for model, gpus in columns
        ]

    def read(operations: str) -> list[str]:
        return [hours(getattr(work, operations)(model), CPU) for model, _ in columns]

    sizes = [f"{model.parameters / 1e9:.2f}" for model, _ in columns]
    trained = [f"{model.adapters(work.rank) / 1e6:.0f}" for model, _ in columns]
    memory = [f"{work.memory(model, gpus) / 1e9:.0f} GB" for model, gpus in columns]
    disk = [f"{4 * work.members * model.adapters(work.rank) / 1e9:.1f} GB" for model, _ in columns]
    kept = 1 - work.share
    return "\n".join(
        [
            line("computed, not run", heads),
            line("---", ["---:"] * len(columns)),
            line("parameters, thousand millions", sizes),
            line("trained parameters, millions", trained),
            line("memory of each GPU", memory),
            line("one training", timed("training")),
            line(f"{work.members} members, trained", timed("training", work.members * kept)),
            line("curvature factors, once for a pool, on the CPU", read("factoring")),
            line("influence without its repair, on the CPU", read("influence")),
            line("reading one member, on the CPU", read("reading_member")),
            line("the same, relearning left out", [hours(work.plain_reading(m, work.rows), CPU) for m, _ in columns]),
            line("one audit or verdict, on the CPU", read("audit")),
            line("members' adapters, until they are measured", disk),
        ]
    )


def fits(work: Work, model: Architecture, gpus: int) -> bool:
    return work.memory(model, gpus) <= GPU_MEMORY


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    parser.add_argument("--check", action="store_true", help="exit 1 if the page has another table")
    asked = parser.parse_args()
    content = tables(Work())
    begin, end = "<!-- cost:begin -->\n", "\n<!-- cost:end -->"
    page = PAGE.read_text()
    start, stop = page.index(begin) + len(begin), page.index(end)
    if asked.write:
        PAGE.write_text(page[:start] + content + page[stop:])
    elif not asked.check:
        print(content)
    return int(asked.check and page[start:stop] != content)


if __name__ == "__main__":
    sys.exit(main())
