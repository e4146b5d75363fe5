"""A user's own project in a folder, and the command run in it."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from neuralyzer.cli.app import app
from neuralyzer.workspace import digests
from tests.conftest import small_digits

ORACLE = """
import torch
from torch import nn

import neuralyzer as nz


def build():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def optimizer(parameters):
    return torch.optim.AdamW(parameters, 3e-3, fused=True)


recipe = nz.Recipe(build, optimizer=optimizer, epochs=40, batch_size=25)
"""


@dataclass(frozen=True)
class Answer:
    """What the command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON document on stdout."""
        assert self.err == ""
        return json.loads(self.out)

    @property
    def complaint(self):
        """The one line on stderr of wrong input."""
        assert self.code == 2 and re.fullmatch(r"neuralyzer: [^\n]+\n", self.err), self
        return self.err.removeprefix("neuralyzer: ").rstrip("\n")


@dataclass(frozen=True)
class Project:
    """A project's folder; the process stands in it."""

    root: Path
    capsys: object

    def __call__(self, *arguments):
        self.capsys.readouterr()
        try:
            app([str(argument) for argument in arguments])
        except SystemExit as left:
            said = self.capsys.readouterr()
            return Answer(left.code, said.out, said.err)
        raise AssertionError("the command came back without an exit code")

    def process(self, *arguments):
        """The command as a process of its own, which Ctrl-C reaches even where these tests run in the background."""
        words = [sys.executable, "-m", "neuralyzer", *(str(argument) for argument in arguments)]
        return subprocess.Popen(
            words, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  a shell has it ignored in the background
        )  # fmt: skip

    def path(self, name):
        return self.root / name

    @property
    def weights(self):
        return self.path("oracle.safetensors")

    @property
    def pool(self):
        (folder,) = self.path(".neuralyzer/references").iterdir()
        return folder

    @property
    def parts(self):
        """Half-written files."""
        return [path for path in self.root.rglob("*") if path.name.endswith(".part")]

    @property
    def cases(self):
        return sorted(self.path(".neuralyzer/cases").glob("*"))

    def edit(self, old, new, name="neuralyzer.toml"):
        """Change a text file that says ``old``."""
        text = self.path(name).read_text()
        assert old in text
        self.path(name).write_text(text.replace(old, new))

    def states(self):
        """Digest of every file, by its path from the root; what a command may not touch.

        The first command that needs them writes the positive control and the number of threads; they are left out.
        """
        return {
            str(path.relative_to(self.root)): digests.of_file(path)
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not {"__pycache__", "controls", "threads.json"} & set(path.parts)
        }


def table_of(data, subjects=True):
    x = data.x.numpy()
    columns = {f"p{place}": x[:, place] for place in range(x.shape[1])}
    owners = data.subjects.tolist() if subjects else [""] * len(data)
    return pa.table(columns | {"label": data.y.numpy(), "customer": owners, "row_id": data.ids.tolist()})


def lay_out(root):
    """The files that a person has before Neuralyzer is asked for."""
    data, holdout = small_digits()
    pq.write_table(table_of(data), root / "train.parquet")
    pq.write_table(table_of(holdout, subjects=False), root / "holdout.parquet")
    (root / "oracle.py").write_text(ORACLE)


def truncate(path, share=0.6):
    """Cut a file short, as a disk that was full or a copy that was stopped leaves it."""
    os.truncate(path, int(path.stat().st_size * share))
