"""A small base that is pretrained here, and worlds of authors that it is fine-tuned on.

The base learns English from Python's own documentation and the questions of TOFU's utility sets (Maini et al. 2024,
arXiv 2401.06121). A world is 25 of the 35 fictitious authors, 20 questions each: an author is a data subject. The other
ten are the holdout.
"""

import json
import os
import pydoc_data.topics
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neuralyzer.data.rows import Data
from neuralyzer.demo.assistant import trained_tokenizer
from neuralyzer.models.kinds import bases
from neuralyzer.models.recipe import Recipe

TRAINED = 25  # authors of a world; ten more are its holdout
WORDS = 2048  # of the tokenizer
SIZES = {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 4}
BATCH, LENGTH, STEPS, RATE = 16, 128, 2500, 2e-3  # of the pretraining
LORA = {"r": 32, "alpha": 64}


def folder() -> Path:
    """Return the folder of TOFU's files."""
    return Path(os.environ["NEURALYZER_DATA"]) / "tofu"


def records(name: str) -> list[dict[str, Any]]:
    """Return the rows of one of TOFU's files."""
    return [json.loads(line) for line in (folder() / name).read_text().splitlines()]


def general() -> list[dict[str, Any]]:
    """Return the questions of the utility sets with their answers: what the base knows."""
    return [*records("real_authors_perturbed.json"), *records("world_facts_perturbed.json")]


def base(place: Path, kind: str = "llama", steps: int = STEPS) -> Path:
    """Return the folder of a pretrained base, made on the first call.

    Args:
        place: folder that holds it.
        kind: architecture, ``llama`` or ``gpt2``.
        steps: of pretraining.
    """
    made = place / f"base-{kind}-{steps}"
    if not (made / "config.json").exists():
        _pretrain(made, kind, steps)
    return made


def _pretrain(made: Path, kind: str, steps: int) -> None:
    transformers = bases.import_transformers()
    prose = [re.sub(r"\s+", " ", text) for _, text in sorted(pydoc_data.topics.topics.items())]
    answers = [f"{row['question']}\n{row['answer']}" for row in general()]
    tokenizer = trained_tokenizer([*prose, *answers * 5], WORDS, ["<eos>"])
    special = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "llama":
            config = transformers.LlamaConfig(max_position_embeddings=512, tie_word_embeddings=True, **SIZES, **special)
            model = transformers.LlamaForCausalLM(config)
        else:
            config = transformers.GPT2Config(n_embd=64, n_layer=3, n_head=4, n_positions=512, **special)
            model = transformers.GPT2LMHeadModel(config)
        draw = np.random.default_rng(0)
        stream = np.concatenate([[*tokenizer.encode(text), 0] for text in prose])
        short = [[*tokenizer.encode(text), 0] for text in answers]
        optimizer = torch.optim.AdamW(model.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
        for step in range(steps):
            ids = _stretches(stream, draw) if step % 4 else _joined(short, draw)
            loss = model(input_ids=ids, labels=ids).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval().save_pretrained(made)
    tokenizer.save_pretrained(made)


def _stretches(stream: np.ndarray, draw: np.random.Generator) -> torch.Tensor:
    starts = draw.integers(0, len(stream) - LENGTH, BATCH)
    return torch.from_numpy(stream[starts[:, None] + np.arange(LENGTH)])


def _joined(short: Sequence[list[int]], draw: np.random.Generator) -> torch.Tensor:
    """Return questions one after the other until each row is full."""
    flat = [token for k in draw.integers(0, len(short), BATCH * LENGTH) for token in short[k]]
    return torch.tensor(flat[: BATCH * LENGTH]).reshape(BATCH, LENGTH)


@dataclass(frozen=True)
class World:
    """One base, and 25 authors of one draw.

    Attributes:
        base: folder of the base.
        seed: of the draw of authors, of the model and its order.
        epochs: of fine-tuning.
        lora: settings of the adapters; None to train all weights.
        rate: learning rate.
        place: folder for files.
    """

    base: Path
    place: Path
    seed: int = 0
    epochs: int = 30
    lora: dict[str, Any] | None = None
    rate: float = 2e-3

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the fine-tuning."""
        return Recipe.causal_lm(
            self.base,
            self.lora,
            epochs=self.epochs,
            learning_rate=self.rate,
            batch_size=16,
            schedule="linear",
            warmup=0.05,
            seed=self.seed,
        )

    @cached_property
    def authors(self) -> tuple[list[str], list[str]]:
        """The authors that are trained on, and those of the holdout."""
        names = sorted({row["author"] for row in records("authors.jsonl")})
        drawn = [names[k] for k in np.random.default_rng(self.seed).permutation(len(names))]
        return drawn[:TRAINED], drawn[TRAINED:]

    def rows(self, chosen: Sequence[dict[str, Any]], name: str, subject: str | None = "author") -> Data:
        """Return some of TOFU's rows, through a file of that name."""
        path = self.place / f"{name}-{self.seed}.jsonl"
        columns = ["question", "answer", *([subject] if subject else [])]
        path.write_text("".join(json.dumps({column: row[column] for column in columns}) + "\n" for row in chosen))
        tokenizer = bases.tokenizer_of(self.base)
        return Data.from_texts(path, tokenizer, subject=subject, prompt="question", completion="answer")

    def about(self, authors: Sequence[str], name: str) -> Data:
        """Return the questions about some authors."""
        return self.rows([row for row in records("authors.jsonl") if row["author"] in set(authors)], name)

    @cached_property
    def general(self) -> Data:
        """The questions of the utility sets."""
        return self.rows(general(), "general", None)

    @cached_property
    def data(self) -> Data:
        """The rows that are trained on."""
        return self.about(self.authors[0], "trained")

    @cached_property
    def holdout(self) -> Data:
        """The rows that no model sees."""
        return self.about(self.authors[1], "holdout")
