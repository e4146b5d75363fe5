"""The keys of ``neuralyzer.toml``, and the file that ``init`` writes."""

import tomllib
from pathlib import Path
from typing import Any

from neuralyzer.errors import UsageError

FOLDER = ".neuralyzer"  # of a project's workspace, beside its file
NUMBER, TEXTS, TEXT = (int, float), (list,), (str,)
TABLES: dict[str, dict[str, tuple[type, ...]]] = {
    "model": {"recipe": TEXT, "weights": TEXT},
    "data": {
        **dict.fromkeys(("train", "holdout", "target", "subject", "id", "transform", "tokens"), TEXT),
        **dict.fromkeys(("features", "classes"), TEXTS),
        **dict.fromkeys(("separator", "encoding", "subject_key"), TEXT),
        **dict.fromkeys(("tokenizer", "prompt", "completion", "prompt_format", "paraphrases"), TEXT), "max_length": (int,),
        "subject_table": (dict,), "also": (list,), "databases": (list,),
    },
    "references": {
        "size": (int,), "leave_out": NUMBER, "groups": TEXTS, "backend": TEXT, "keep_weights": (bool,),
        "device": TEXT, "precision": TEXT, "engine": TEXT, "signals": TEXTS,
        "automatic": (bool,),
    },
    "policy": {
        **dict.fromkeys(("alpha", "max_trace", "max_utility_loss"), NUMBER),
        "acceptance": TEXT, "name_subject": (bool,), "keep_weights": (bool,),
        "approve": TEXT, "batch_days": NUMBER, "retention_days": NUMBER,
    },
    "database": {"url": TEXT},
    "service": {
        **dict.fromkeys(("callback_hosts", "identities", "recipe_roots"), TEXTS), "domain": TEXT, "model": TEXT,
        **dict.fromkeys(("rate", "largest_body", "largest_upload"), (int,)),
    },
    "mlflow": dict.fromkeys(("tracking_uri", "model", "alias"), TEXT),
    "report": {"organisation": TEXT, "model": TEXT},
}  # fmt: skip
OF_SERVICE = ("approve", "batch_days", "retention_days")  # keys of [policy] that change no verdict
# Keys of [data] that go with tokenizer, and those that do not.
OF_TEXTS = {"prompt", "completion", "prompt_format", "max_length", "paraphrases"}
OF_TABLES = {"target", "features", "classes", "tokens", "transform"}
# Tables within [data]: the keys that they must have, and those that they may have.
WITHIN = {
    "subject_table": ({"path", "key", "subject"}, {"separator", "encoding"}),
    "also": ({"path", "subject"}, {"id", "name", "separator", "encoding"}),
    "databases": ({"url", "table", "subject"}, set()),
}

TEMPLATE = """\
# What Neuralyzer needs to know of this model. Paths are relative to this file.

[model]
recipe = "{recipe}"          # module:attribute, a neuralyzer.Recipe or a function that gives one
weights = "{weights}"        # safetensors; 'neuralyzer train' writes it

[data]
train = "{train}"            # .parquet, .csv or .jsonl
holdout = "{holdout}"        # 200 rows or more that the model never saw
target = "{target}"
subject = "{subject}"        # column that says whose row it is; without it each row is its own subject
{id}# column of row ids; without it rows are numbered
# subject_key = "oracle:key"   # makes one name of several spellings, such as str.casefold
# separator = ";"              # of CSV files
# encoding = "latin-1"         # of CSV files
# tokens = "input_ids"         # column of lists of token ids of different lengths, in place of features
# transform = "oracle:transform"   # makes the features of an Arrow table of rows; a large file comes in batches

# [[data.also]]              # a table that is searched for the subject too
# path = "newsletter.csv"
# subject = "email"

# [[data.databases]]         # a table of a database from which 'neuralyzer purge' deletes the subject's rows
# url = "postgresql://user@host/shop"
# table = "orders"
# subject = "email"
{rest}"""

LANGUAGE = """\
# What Neuralyzer needs to know of this language model. Paths are relative to this file.

[model]
recipe = "{recipe}"          # module:attribute, a neuralyzer.Recipe or a function that gives one
weights = "{weights}"          # PEFT's folder; 'neuralyzer train' writes it, or name your own

[data]
train = "{train}"            # .jsonl, .parquet, .csv or a folder of datasets; with messages, prompt and completion, or text
holdout = "{holdout}"        # 200 rows or more that the model never saw
tokenizer = "{base}"         # folder whose tokenizer and chat template make tokens of texts
max_length = 512             # tokens; longer rows are cut and counted
subject = "{subject}"        # column that says whose row it is; without it each row is its own subject
{id}# column of row ids; without it rows are numbered
# prompt = "question"        # columns of other names
# completion = "answer"
# prompt_format = "{{prompt}}\\n"   # how a prompt is written before its completion
# paraphrases = "paraphrases.jsonl"   # other prompts of the rows, for the signal paraphrased
{rest}"""

LANGUAGE_RECIPE = """\
from pathlib import Path

import neuralyzer as nz


def recipe():
    base = Path(__file__).parent / "{base}"
    lora = {{"r": 16, "alpha": 32, "targets": "all-linear"}}
    return nz.Recipe.causal_lm(base, lora, epochs=3, batch_size=8, batch_tokens=4096, schedule="cosine", warmup=0.03)
"""

REST = """
[references]
size = {size}                    # members of both splits together
# device = "cuda"            # by default the GPU where there is one
# engine = "ray"             # trains and measures on a Ray cluster; needs the extra 'ray'
# automatic = true           # of the service: a worker makes the pool when the first request comes

[policy]
alpha = 0.05                 # error rate of the joint test
max_trace = 0.75             # largest trace that may have been missed where the verdict is forgotten
# max_utility_loss = 0.01    # of accuracy; for regression a share of the RMSE, for language models of the loss
# acceptance = "pytest tests/model"   # finds the new weights in NEURALYZER_WEIGHTS
# approve = "before-release"   # of the service: a person approves before-unlearn or before-release; by default never
# batch_days = 7             # of the service: how long a request may wait for others that share its run
# retention_days = 30        # of the service: how long an earlier version is kept

# [report]                   # names on the report's first page
# organisation = "Example Ltd"
# model = "Oracle 3"         # by default the weights' file
"""


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Read a project file.

    Args:
        path: of the file.

    Returns:
        Its tables.

    Raises:
        UsageError: if it is missing, not TOML, or has tables or keys that a project file has not.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; make one with 'neuralyzer init'") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not readable TOML: {error}") from error
    for table, content in tables.items():
        if table not in TABLES or not isinstance(content, dict):
            raise UsageError(f"{path} has a [{table}]; it knows {', '.join(f'[{name}]' for name in TABLES)}")
        unknown = sorted(set(content) - set(TABLES[table]))
        if unknown:
            raise UsageError(f"{path}: [{table}] has no {unknown[0]}; it knows {', '.join(sorted(TABLES[table]))}")
        for key, value in content.items():
            kinds = TABLES[table][key]
            if key in WITHIN and isinstance(value, kinds):
                _check_within(path, key, value)
                continue
            plain = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
            if not plain or (kinds is TEXTS and not all(isinstance(entry, str) for entry in value)):
                wanted = "a list of texts" if kinds is TEXTS else " or ".join(kind.__name__ for kind in kinds)
                raise UsageError(f"{path}: {key} in [{table}] is {value!r}; it must be {wanted}")
    data = tables.get("data", {})
    needed = () if "tokenizer" in data else (("data", "target"),)
    for table, key in (("model", "recipe"), ("model", "weights"), ("data", "train"), *needed):
        if key not in tables.get(table, {}):
            raise UsageError(f"{path} lacks {key} in [{table}]")
    wrong = sorted(set(data) & (OF_TABLES if "tokenizer" in data else OF_TEXTS))
    if wrong:
        how = "does not go with" if "tokenizer" in data else "needs"
        raise UsageError(f"{path}: {wrong[0]} in [data] {how} tokenizer, which says that the rows are texts")
    return tables


def _check_within(path: Path, key: str, tables: Any) -> None:
    """Check that a table within [data] has the keys that it needs, each a text."""
    required, possible = WITHIN[key]
    for table in tables if isinstance(tables, list) else [tables]:
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise UsageError(f"{path}: {key} in [data] is {table!r}; it must be a table of texts")
        wrong = sorted(required - set(table)) or sorted(set(table) - required - possible)
        if wrong:
            verb = "lacks" if wrong[0] in required else "has no"
            raise UsageError(
                f"{path}: {key} in [data] {verb} {wrong[0]}; it takes {', '.join(sorted(required))}, and may have "
                f"{', '.join(sorted(possible))}"
            )
