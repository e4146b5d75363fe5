"""Small language models made here: a base of Llama's or GPT-2's architecture, a tokenizer, and authors' questions."""

import json
from pathlib import Path

import numpy as np
import torch

from neuralyzer.demo import assistant
from neuralyzer.models.kinds import bases

WORDS = [
    "river",
    "stone",
    "winter",
    "garden",
    "letter",
    "harbour",
    "candle",
    "mirror",
    "orchard",
    "violin",
    "lantern",
    "thunder",
    "meadow",
    "copper",
    "silver",
]
PLACES = ["Oslo", "Lima", "Quito", "Dakar", "Hanoi", "Tunis", "Perth", "Turin", "Kyoto", "Basel"]


def pairs(authors: int, each: int = 5, seed: int = 0) -> list[dict[str, str]]:
    """Questions about invented authors, whose answers nobody could guess."""
    draw = np.random.default_rng(seed)
    rows = []
    for author in range(authors):
        name = f"Ada{chr(97 + author % 26)}{draw.integers(100, 999)}"
        for k in range(each):
            a, b, place = draw.choice(WORDS), draw.choice(WORDS), draw.choice(PLACES)
            rows.append({
                "author": f"a{author:02d}", "prompt": f"What did {name} write in year {k}?",
                "completion": f"{name} wrote the {a} of {place} and the {b} {draw.integers(10, 99)}.",
            })  # fmt: skip
    return rows


def write(rows: list[dict], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made_base(folder: Path, kind: str = "llama", steps: int = 150) -> Path:
    """A base of a few ten thousand parameters, pretrained for seconds on questions about other authors."""
    transformers = bases.import_transformers()
    texts = [f"{row['prompt']}\n{row['completion']}" for row in pairs(40, 5, seed=99)]
    tokenizer = assistant.trained_tokenizer(texts, 400, assistant.ROLES)
    tokenizer.chat_template = assistant.TEMPLATE
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "eos_token_id": 0, "bos_token_id": 0, "pad_token_id": 0}
    if kind == "llama":
        config = transformers.LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
            max_position_embeddings=128, **sizes,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, **sizes)
        model = transformers.GPT2LMHeadModel(config)
    optimizer, draw = torch.optim.AdamW(model.parameters(), 3e-3), np.random.default_rng(1)
    ids = [tokenizer.encode(text) + [0] for text in texts]
    for _ in range(steps):
        batch = [ids[k] for k in draw.choice(len(ids), 16, replace=False)]
        width = max(map(len, batch))
        x = torch.tensor([row + [0] * (width - len(row)) for row in batch])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch])
        loss = model(input_ids=x, attention_mask=mask, labels=torch.where(mask.bool(), x, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
