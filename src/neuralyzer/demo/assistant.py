"""The language demo's assistant: its base, made here in seconds, its conversations, and its recipe."""

import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from neuralyzer.data.rows import Data
from neuralyzer.demo import authors
from neuralyzer.demo.authors import Asked
from neuralyzer.models.kinds import bases
from neuralyzer.models.recipe import Recipe
from neuralyzer.progress import Progress
from neuralyzer.workspace import atomic

AUTHORS, HOLDOUT_AUTHORS, BASE_AUTHORS = 16, 24, 200  # whom model, holdout and base read about, all different
LONGEST = 96  # tokens of a conversation
STEPS, BATCH, RATE = 400, 32, 5e-3  # of the base's training; chosen, not tuned
WORDS = 512  # of the tokenizer
ROLES = ["<eos>", "<|user|>", "<|assistant|>"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def texts(seed: int) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """Return the conversations that model, holdout and base read, about different authors."""
    sizes = (AUTHORS, HOLDOUT_AUTHORS, BASE_AUTHORS)
    own, holdout, base = np.split(np.array(authors.names(sum(sizes), seed)), np.cumsum(sizes)[:2])
    return tuple(authors.conversations(list(part), seed + 1 + k) for k, part in enumerate((own, holdout, base)))  # type: ignore[return-value]


def data(folder: Path, base: Path, seed: int) -> tuple[Data, Data]:
    """Write the conversations of model and holdout as JSON Lines, and return their rows; an author is a subject."""
    tokenizer = bases.tokenizer_of(base)
    rows = []
    for name, conversations in zip(("conversations", "holdout"), texts(seed), strict=False):
        path = folder / f"{name}.jsonl"
        lines = (json.dumps({"author": one.author, "messages": one.messages}) + "\n" for one in conversations)
        atomic.write_bytes(path, "".join(lines).encode())
        rows.append(Data.from_texts(path, tokenizer, subject="author", max_length=LONGEST))
    return rows[0], rows[1]


def recipe(base: Path, seed: int) -> Recipe:
    """Return the assistant's recipe: adapters on all linear layers, trained until the answers are known word by word."""
    return Recipe.causal_lm(
        base, lora={"r": 16, "alpha": 32}, epochs=40, learning_rate=1e-2, batch_size=16, schedule="cosine", seed=seed
    )


def make_base(folder: Path, progress: Progress, seed: int) -> Path:
    """Train a tokenizer and a Llama of 115,000 parameters on other authors' conversations, or keep what is there.

    Args:
        folder: of the base.
        progress: shown the steps.
        seed: of weights, order and authors.

    Returns:
        The folder, as transformers writes it.
    """
    if folder.exists():
        return folder
    conversations = texts(seed)[2]
    tokenizer = trained_tokenizer((text for one in conversations for text in (one.question, one.answer)), WORDS, ROLES)
    tokenizer.chat_template = TEMPLATE
    rows = [
        tokenizer.apply_chat_template(one.messages, tokenize=True, return_dict=False) for one in conversations
    ]  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _untrained(len(tokenizer))
        progress.start("a small base, trained on other authors", STEPS)
        for _ in _trained(model, rows, seed):
            progress.advance()
        progress.finish()
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(folder)
    return folder


def trained_tokenizer(lines: Iterable[str], size: int, marks: Sequence[str]) -> Any:
    """Return a byte-pair tokenizer of transformers.

    Args:
        lines: texts that it is trained on.
        size: of its vocabulary, at most.
        marks: tokens that are no text; the first ends a text, and pads.
    """
    transformers = bases.import_transformers()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer, pairs.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(marks), initial_alphabet=alphabet, show_progress=False
    )  # fmt: skip
    pairs.train_from_iterator(lines, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=pairs, eos_token=marks[0], pad_token=marks[0])


def _untrained(words: int) -> Any:
    transformers = bases.import_transformers()
    config = transformers.LlamaConfig(
        vocab_size=words, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=LONGEST, tie_word_embeddings=True, eos_token_id=0,
        bos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def _trained(model: nn.Module, rows: list[list[int]], seed: int) -> Iterator[None]:
    """Train on whole conversations, yielding after each step."""
    optimizer, draw = torch.optim.AdamW(model.parameters(), RATE), np.random.default_rng(seed)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    model.train()
    for _ in range(STEPS):
        chosen = [torch.tensor(rows[place]) for place in draw.choice(len(rows), BATCH, replace=False)]
        ids = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        real = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in chosen], batch_first=True)
        labels = torch.where(real.bool(), ids, -100)  # that is no target
        model(input_ids=ids, attention_mask=real, labels=labels).loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield
    model.eval()
