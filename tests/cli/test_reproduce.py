"""``certificate reproduce``: a past case is run again and compared with its certificate."""

import shutil

import pytest

from tests.cli.conftest import enter_alone, must


def case_of(project):
    (folder,) = [path for path in project.cases if (path / "certificate.json").exists()]
    return folder


@pytest.fixture(scope="module")
def made_open(made_project, tmp_path_factory):
    """The project with a case that is not closed, since nothing satisfies its policy; its references are whole."""
    root = tmp_path_factory.mktemp("open") / "project"
    shutil.copytree(made_project, root)
    text = (root / "neuralyzer.toml").read_text()
    (root / "neuralyzer.toml").write_text(text.replace("max_trace = 0.75", "max_trace = 0.001"))
    with pytest.MonkeyPatch.context() as patch:
        enter_alone(patch, root)
        with pytest.raises(SystemExit):
            from neuralyzer.cli.app import app

            app(["forget", "--subject", "c1", "--method", "influence", "--json"])
    return root


def test_an_open_case_is_reproduced_with_each_number(made_open, in_folder):
    project = in_folder(made_open)
    before = project.states()
    answer = project("certificate", "reproduce", case_of(project).name, "--json")
    print(answer)
    assert project.states() == before
    assert answer.code == 0


def test_a_released_case(answered):
    project = answered
    before = project.states()
    answer = project("certificate", "reproduce", case_of(project).name, "--json")
    print(answer.out, answer.err)
    answer = project("certificate", "reproduce", case_of(project).name, "--train-references")
    print(answer.out, answer.err)
    assert project.states() == before
    assert 0
