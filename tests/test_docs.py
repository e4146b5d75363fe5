"""What the README and the docs say: tables as the code has them, examples and commands that run, links that lead."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import neuralyzer as nz
from neuralyzer.methods import catalogue as method_catalogue
from neuralyzer.models import weights
from neuralyzer.registry.manifests import register_dataset
from neuralyzer.service.opening import requests_of
from neuralyzer.service.request import Change
from neuralyzer.service.states import State
from neuralyzer.service.tokens import Tokens
from neuralyzer.signals import catalogue as signal_catalogue
from neuralyzer.signals.signal import Batch, Context
from neuralyzer.workspace import plugins
from tests.authority import Authority, served
from tests.cli.conftest import in_folder  # noqa: F401  a fixture

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "NO_MKDOCS_2_WARNING": "1",
    "COLUMNS": "160",
}
FENCE = re.compile(
    r"(?:<!-- exit: (?P<exit>\d) -->\n)?^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
QUICK = {"init", "train", "locate", "methods", "signals"}  # need no references
IN_ORDER = [
    ROOT / "README.md",
    DOCS / "quickstart.md",
    DOCS / "own-model.md",
]  # each command goes on from the one before
ONE_BY_ONE = [
    DOCS / "cli.md",
    DOCS / "certificate.md",
    DOCS / "ledger.md",
    DOCS / "requests.md",
    DOCS / "service.md",
    DOCS / "costs.md",
    DOCS / "when-to-retrain.md",
]  # each command starts from the same finished project


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    language: str
    title: str | None
    body: str
    code: int = 0

    def __str__(self) -> str:
        lines = [line for line in self.body.splitlines() if line and not line.startswith(("import ", "from "))]
        return f"{self.page.name}:{lines[0][:50]}"


def blocks(page: Path) -> list[Block]:
    return [
        Block(page, found["language"], found["title"], found["body"], int(found["exit"] or 0))
        for found in FENCE.finditer(page.read_text())
    ]


def commands(page: Path) -> list[tuple[str, int]]:
    """Commands of a page in order, with their exit codes; those of make are not run here."""
    return [
        (line, block.code)
        for block in blocks(page)
        if block.language in ("bash", "console")
        for line in block.body.splitlines()
        if line.startswith(("neuralyzer ", "python "))
    ]


def verb(command: str) -> str:
    return command.split()[1]


def run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def must(command: str, folder: Path, code: int = 0) -> str:
    done = run(command, folder)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Tables and links


def test_generated_parts_are_as_the_code_has_them():
    assert load(DOCS / "generate.py").main(check=True) == 0


def test_generator_notices_a_stale_page(tmp_path, monkeypatch):
    generate = load(DOCS / "generate.py")
    (tmp_path / "README.md").write_text("<!-- methods:begin -->\nold\n<!-- methods:end -->\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "PARTS", {"README.md": {"methods": lambda: "new"}})
    assert generate.main(check=True) == 1
    assert generate.main(check=False) == 0
    assert (tmp_path / "README.md").read_text() == "<!-- methods:begin -->\nnew\n<!-- methods:end -->\n"
    assert generate.main(check=True) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    text = FENCE.sub("", page.read_text())
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [t for t in targets if t and "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_mkdocs_builds_strictly(tmp_path):
    must(f"mkdocs build --strict --quiet --config-file {ROOT / 'mkdocs.yml'} --site-dir {tmp_path / 'site'}", ROOT)
    page = (tmp_path / "site" / "adding-a-method" / "index.html").read_text()
    assert 'class</span><span class="w"> </span><span class="nc">LastLayer' in page  # the file itself is shown
    outside = re.findall(r"<(?:script|link)[^>]+(?:src|href)=\"(https?://[^\"]+)\"", page)
    assert not outside  # nothing is fetched from elsewhere


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {
        target
        for page in PAGES
        for block in blocks(page)
        if block.language in ("bash", "console")
        for target in re.findall(r"^make ([a-z-]+)", block.body, re.MULTILINE)
    }
    assert {"demo", "test"} <= named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


@pytest.mark.parametrize(
    ("script", "picture"),
    [("draw", "trace.svg"), ("power", "power.svg"), ("layers", "layers.svg"), ("leaderboard", "leaderboard.svg")],
)
def test_picture_is_drawn_by_its_script(script, picture, tmp_path):
    load(DOCS / "img" / f"{script}.py").picture().save(tmp_path / picture)
    assert (tmp_path / picture).read_bytes() == (DOCS / "img" / picture).read_bytes()


# Python blocks


def python_blocks() -> Iterator[object]:
    for page in IN_ORDER:
        for block in blocks(page):
            if block.language == "python" and block.title is None:
                slow = (
                    "plan(" in block.body or "forget(" in block.body
                )  # the whole way: 20 s and more on a busy machine
                yield pytest.param(block, id=str(block), marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("block", list(python_blocks()))
def test_python_block_runs_and_prints_what_it_says(block, tmp_path):
    (tmp_path / "example.py").write_text(block.body)
    printed = must(f"{sys.executable} example.py", tmp_path).splitlines()
    assert [
        line for line in re.findall(r"^print\(.*\)  # (.+)$", block.body, re.MULTILINE) if line not in printed
    ] == []


def test_recipes_of_the_page_on_own_models(tmp_path, monkeypatch):
    fresh(DOCS / "own-model.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("oracle", "variants"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    data = nz.Data.from_arrays(np.random.default_rng(0).random((60, 64)), np.arange(60) % 10)
    variants = load(tmp_path / "variants.py")
    for name in ("augmented", "by_function"):
        assert len(list(nz.TrainedModel.fit(getattr(variants, name), data).model)) == 3
    assert "{rows}" in variants.by_command.command and variants.fine_tuned().epochs == 5
    del sys.modules["oracle"]  # monkeypatch would put it back


def test_kinds_of_the_page_on_own_models(tmp_path, monkeypatch):
    fresh(DOCS / "own-model.md", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    kinds = load(tmp_path / "kinds.py")
    assert list(nz.TrainedModel.fit(kinds.read, kinds.texts).model(**kinds.texts.x).shape) == [3, 2]
    assert set(kinds.inputs.x) == {"age", "place"}
    assert nz.TrainedModel.fit(kinds.trees, nz.Data.from_arrays(np.eye(4), [0, 1, 0, 1])).digest


def test_comments_name_headings_and_decisions_that_exist():
    headings, decisions = set(), {path.name.partition("-")[0] for path in DOCS.glob("decisions/0*.md")}
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = re.sub(r"\n\s*#?\s*", " ", path.read_text())
        for page, heading in re.findall(r"docs/([\w-]+\.md), \"([^\"]+)\"", text):
            headings.add(heading)
            assert re.search(rf"^#+ {re.escape(heading)}$", (DOCS / page).read_text(), re.MULTILINE), (path, heading)
        for number in re.findall(r"\bdecision (\d+)\b", text):
            assert number.zfill(4) in decisions, (path, number)
        for name in re.findall(r"\b(\d{4}-[\w-]+\.md)\b", text):
            assert (DOCS / "decisions" / name).exists(), (path, name)
    assert "Evaluation accesses" in headings


def test_contributing_answers_by_paths_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = re.findall(r"`(src/neuralyzer/[\w/.]+)`", text)
    assert len(folders) >= 8 and not [path for path in folders if not (ROOT / path).exists()]
    for name in ("certified", "strong", "weak"):
        assert f"`{name}/`" in text and (ROOT / "src/neuralyzer/methods" / name).is_dir()


def test_quickstart_example_is_short():
    whole = [b for b in blocks(DOCS / "quickstart.md") if b.language == "python" and "forget(" in b.body]
    assert len(whole) == 1 and len(whole[0].body.splitlines()) < 40


# Commands


ORACLE = """
import torch
import neuralyzer as nz

def build():
    return torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2))

recipe = nz.Recipe(build, optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-2), epochs=20, batch_size=32)
"""


def write_rows(folder: Path) -> None:
    """Small noisy data with a customer AIFinn, under the names that 'neuralyzer init' expects."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(700, 6))
    label = (x[:, 0] + 0.3 * generator.normal(size=700) > 0).astype(int)
    names = np.array(["AIFinn", *(f"customer-{number}" for number in range(2, 13))])
    columns = {f"x{place}": x[:, place] for place in range(6)}
    rows = pa.table(columns | {"label": label, "customer": names[generator.integers(0, 12, 700)]})
    pq.write_table(rows.slice(0, 400), folder / "train.parquet")
    pq.write_table(rows.slice(400), folder / "holdout.parquet")


def fresh(page: Path, folder: Path) -> Path:
    """The project that a page's commands begin in."""
    titled = [block for block in blocks(page) if block.title is not None]
    for block in titled:
        (folder / str(block.title)).write_text(block.body)
    if not titled:
        (folder / "oracle.py").write_text(ORACLE)
        write_rows(folder)
    return folder


@pytest.mark.parametrize("page", [*IN_ORDER, DOCS / "cli.md"], ids=lambda page: page.name)
def test_quick_commands_run(page, tmp_path, request):
    chosen = [(command, code) for command, code in commands(page) if verb(command) in QUICK | {"rows.py"}]
    assert len(chosen) > 1
    project = request.getfixturevalue("in_folder")(fresh(page, tmp_path))
    for command, code in chosen:
        if command.startswith("python "):
            must(command, tmp_path, code)
        else:  # in this process: torch is imported once
            said = project(*shlex.split(command, comments=True)[1:])
            assert said.code == code, f"{command}\n{said.out}\n{said.err}"


@pytest.mark.slow
@pytest.mark.parametrize("page", IN_ORDER, ids=lambda page: page.name)
def test_all_commands_run_in_order(page, tmp_path):
    fresh(page, tmp_path)
    for command, code in commands(page):
        if verb(command) != "demo":
            must(command, tmp_path, code)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with a model, references, more files of weights, and certificate and weights of a case of a copy of it."""
    folder = fresh(DOCS / "cli.md", tmp_path_factory.mktemp("finished"))
    for command in ("neuralyzer init", "neuralyzer train", "neuralyzer references"):
        must(command, folder)
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    must("neuralyzer forget --subject AIFinn", other)
    must("neuralyzer ledger checkpoint --to kept.checkpoint", other)
    must("neuralyzer ledger auditor-key --key auditor.key", other)
    if shutil.which("openssl") is not None:
        authority = Authority(other / "authority")
        shutil.copy(authority.roots, other / "authorities.pem")
        with served(authority.answer) as url:
            must(f"neuralyzer ledger checkpoint --timestamp {url}", other)
        (stamp,) = other.glob(".neuralyzer/checkpoints/*.tsr")
        shutil.copy(stamp, other / "kept.checkpoint.tsr")
    case = next(path for path in (other / ".neuralyzer" / "cases").iterdir() if path.is_dir())
    for name in ("certificate.json", "certificate.pub.pem"):
        for place in (folder, other):
            shutil.copy(case / name, place / name)
    unlearned = next(case.glob("attempts/*/weights.safetensors"))
    for name in ("weights.safetensors", "unlearned.safetensors"):
        shutil.copy(unlearned, folder / name)
    for name in ("shop.safetensors", "mobile.bin", "base.safetensors"):
        shutil.copy(folder / "oracle.safetensors", folder / name)
    rows = np.random.default_rng(1).normal(size=(40, 6))
    register_dataset(folder / ".neuralyzer", "pretraining", nz.Data.from_arrays(rows, np.zeros(40, dtype=int)))
    return folder


# In commands; the test puts those in that it makes.
REQUEST, TOKEN, CASE = "req-0123456789abcdef", "0123456789ab", "case-0123456789ab"


def in_service(command: str, project: Path) -> str:
    """Make the request, or the token, that a command is about, in the state that the command needs."""
    _, requests = requests_of(project / "neuralyzer.toml")
    made, _ = requests.create("oracle", nz.ErasureRequest(subjects=["AIFinn"]), "docs")
    states = {"approve": [State.PREPARING, State.PLANNED], "again": [State.NEEDS_PERSON], "watch": [State.CANCELLED]}
    for state in states.get(command.split()[2], []):
        requests.change([Change(made.id, state, "moved")])
    token, _ = Tokens(requests.database).new("docs", ["read"])
    requests.database.close()
    return command.replace(REQUEST, made.id).replace(TOKEN, token.id)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [c for page in ONE_BY_ONE for c, _ in commands(page) if verb(c) not in ("demo", "serve", "worker")]
)  # servers and workers go on until they are stopped; tests/service runs them
def test_command_runs_in_a_finished_project(command, finished, tmp_path):
    if command.startswith("neuralyzer ledger dated") and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the time-stamp")
    project = tmp_path / "project"
    again = command.startswith("neuralyzer certificate reproduce")
    answered = again or verb(command) in ("export", "ledger")
    shutil.copytree(finished.with_name("other") if answered else finished, project)
    if verb(command) == "init":
        (project / "neuralyzer.toml").unlink()
    if verb(command) == "train":
        (project / "oracle.safetensors").unlink()
        shutil.rmtree(project / ".neuralyzer")
    if "--parent shop" in command:
        must("neuralyzer register-model shop shop.safetensors", project)
    if verb(command) in ("request", "case", "token"):
        command = in_service(command, project)
    if again:
        case = next(path.parent.name for path in project.glob(".neuralyzer/cases/*/certificate.json"))
        command = command.replace(CASE, case)
    done = run(command, project)
    # A verdict on so small a model may be any; that there is one is what counts.
    allowed = (0, 1) if verb(command) in ("verify", "forget") else (0, 2) if again else (0,)
    assert done.returncode in allowed and done.stdout, f"{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_demo_commands_run(tmp_path):
    told = {command for page in PAGES for command, _ in commands(page) if verb(command) == "demo"}
    assert told
    must(min(told), tmp_path)


# The examples of a method and of a signal


@pytest.fixture(scope="module")
def oracle():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(520, 5)).astype(np.float32)
    y = (x[:, 0] + 0.3 * generator.normal(size=520) > 0).astype(int)
    data = nz.Data.from_arrays(x[:300], y[:300], subjects=np.arange(300) % 15)
    recipe = nz.Recipe(
        lambda: torch.nn.Sequential(torch.nn.Linear(5, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, 1e-2),
        epochs=30,
        batch_size=50,
    )
    return nz.TrainedModel.fit(recipe, data, nz.Data.from_arrays(x[300:], y[300:]))


@pytest.fixture
def registered(monkeypatch):
    """Register a class as a third party's entry point would."""
    caches = (method_catalogue.methods, signal_catalogue.signals)

    def register(group: str, kind: type) -> None:
        entry = SimpleNamespace(name=kind.name, load=lambda: kind)
        monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == wanted else [])
        for cache in caches:
            cache.cache_clear()

        nonlocal wanted
        wanted = group

    wanted = ""
    yield register
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def test_example_method_is_found_and_works(registered, oracle):
    kind = load(DOCS / "examples" / "last_layer.py").LastLayer
    registered("neuralyzer.methods", kind)
    assert "last-layer" in nz.methods.names()
    before = weights.digest(oracle.model)
    task = nz.Task(oracle, nz.ErasureRequest(subjects=["3"]))
    method = nz.methods.get("last-layer")(epochs=2)
    first, again = method.unlearn(task), method.unlearn(task)
    assert weights.digest(oracle.model) == before
    assert weights.digest(first) == weights.digest(again)
    assert torch.equal(first[0].weight, oracle.model[0].weight)
    assert not torch.equal(first[2].weight, oracle.model[2].weight)
    assert all(parameter.requires_grad for parameter in first.parameters())
    assert method.passes(task).steps == 2 * 6  # 280 retained rows, 50 a batch


def test_example_signal_is_found_and_read_by_an_audit(registered, oracle):
    kind = load(DOCS / "examples" / "loss.py").Loss
    registered("neuralyzer.signals", kind)
    rows, holdout = Batch(oracle.data.x[:40], oracle.data.y[:40]), Batch(oracle.holdout.x, oracle.holdout.y)
    context = Context.of(oracle.recipe, oracle.data.x)
    read, outside = kind().measure(oracle.model, rows, holdout, context)
    expected = -torch.nn.functional.cross_entropy(oracle.model(rows.x), rows.y, reduction="none").log()
    assert torch.allclose(read, expected, rtol=1e-4) and outside.shape == (len(oracle.holdout),)
    references = nz.References.fit(oracle, size=32, backend="vectorised")
    audited = nz.audit(oracle, nz.ErasureRequest(subjects=["3"]), references)
    line = next(family for family in audited.families if family["signal"] == "loss")
    assert line["family"] == "attack" and np.isfinite(line["trace"])
