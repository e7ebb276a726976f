"""The commands of a terminal: exit codes, what goes where, and whose name is recorded."""

from __future__ import annotations

import getpass
import io
import json
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from deployments.domain.states import OperationKind, OperationState, StepState
from deployments.models import AuditEntry, Cluster, Operation, OperationStep, Profile
from tests import factories as make

pytestmark = pytest.mark.django_db


def run(*words: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    file = tmp_path / "kubeconfig"
    file.write_text(make.kubeconfig("dev", "prod"))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(
        "backend:\n  model:\n    registry: registry.ollama.ai/library\n"
        "    repository: deepseek-r1\n    tag:1.5b\n"
    )
    return file


def connected(kubeconfig: Path) -> Cluster:
    run("connect_cluster", "fra", "--kubeconfig", str(kubeconfig), "--context", "dev")
    return Cluster.objects.get()


def test_connecting_asks_which_context_and_records_who_did_it(kubeconfig: Path):
    with pytest.raises(CommandError, match="2 contexts"):
        run("connect_cluster", "fra", "--kubeconfig", str(kubeconfig))
    cluster = connected(kubeconfig)
    assert cluster.grants.get().team == make.default_team()
    entry = AuditEntry.objects.get(action="cluster.connect")
    assert entry.actor_name == getpass.getuser()
    assert make.TOKEN not in json.dumps(entry.after)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path):
    with pytest.raises(CommandError, match="cannot be read"):
        run("connect_cluster", "fra", "--kubeconfig", str(tmp_path / "none"))


def test_importing_takes_the_files_name_and_tells_what_it_mended(config: Path):
    out, err = run("import_profile", str(config))
    assert out == "small revision 1\n"
    assert "warning" in err
    with pytest.raises(CommandError, match="already"):
        run("import_profile", str(config))
    assert Profile.objects.count() == 1


def test_installing_prints_the_state_as_json_and_nothing_else_on_stdout(kubeconfig: Path, config: Path):
    connected(kubeconfig)
    run("import_profile", str(config))
    where = ("--cluster", "fra", "--namespace", "llm", "--name", "r1")
    out, err = run("install_profile", "small", *where, "--json", "--reason", "a try")
    operation = Operation.objects.get(kind=OperationKind.INSTALL)
    assert json.loads(out)["state"] == OperationState.QUEUED
    assert f"Operation {operation.pk}" in err
    assert operation.reason == "a try"
    with pytest.raises(CommandError, match="already") as refused:
        run("install_profile", "small", *where)
    assert refused.value.returncode == 1


def test_waiting_ends_with_another_exit_code_when_time_is_over(kubeconfig: Path, config: Path):
    connected(kubeconfig)
    run("import_profile", str(config))
    where = ("--cluster", "fra", "--namespace", "llm", "--name", "r1")
    with pytest.raises(CommandError, match="still queued") as over:
        run("install_profile", "small", *where, "--wait", "--timeout", "0")
    assert over.value.returncode == 3


def test_a_failed_operation_fails_the_command(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch):
    from dashboard.management import words

    def work(_seconds: float) -> None:
        OperationStep.objects.filter(name="reach").update(state=StepState.FAILED, detail="no answer")
        Operation.objects.update(state=OperationState.FAILED, failure="It does not answer.")

    monkeypatch.setattr(words.time, "sleep", work)
    with pytest.raises(CommandError, match="It does not answer") as failed:
        run("connect_cluster", "fra", "--kubeconfig", str(kubeconfig), "--context", "dev", "--wait")
    assert failed.value.returncode == 1


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("nothing", "--cluster", "fra", "--namespace", "llm", "--name", "r1"), "no profile"),
        (("small", "--cluster", "fra", "--namespace", "Llm", "--name", "r1"), "namespace"),
        (("small", "--cluster", "ber", "--namespace", "llm", "--name", "r1"), "no cluster"),
        (("small", "--cluster", "fra", "--namespace", "llm", "--name", "r1", "--revision", "9"), "revision"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(kubeconfig: Path, config: Path, words, sentence):
    connected(kubeconfig)
    run("import_profile", str(config))
    with pytest.raises(CommandError, match=sentence):
        run("install_profile", *words)
    assert not Operation.objects.filter(kind=OperationKind.INSTALL).exists()
