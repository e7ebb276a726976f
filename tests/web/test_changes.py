"""Scale, restart and roll back from the pages of a deployment."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import Client

from deployments.domain.spec import (
    AutoscalingSpec,
    ChatSpec,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
    spec_to_json,
)
from deployments.domain.states import OperationKind, Role
from deployments.models import AuditEntry, Deployment, Operation, Release, Team
from tests.web import rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db

WAYS = ("scale", "restart", "releases/1/roll-back")


def sized(spec: StackSpec) -> StackSpec:
    """With what the sizing fills in, as a release has it."""
    resources = replace(
        spec.server.resources, cpu_request="2", cpu_limit="4", memory_request="4Gi", memory_limit="8Gi"
    )
    storage = replace(spec.storage, size=spec.storage.size or "10Gi")
    return replace(spec, server=replace(spec.server, resources=resources), storage=storage)


def applied(deployment: Deployment, spec: StackSpec | None = None, number: int = 1) -> Release:
    release = rows.release(deployment, number, [])
    Release.objects.filter(pk=release.pk).update(spec=spec_to_json(sized(spec or StackSpec())))
    return release


def begun(client: Client, deployment: Deployment, way: str, **given: object) -> Operation:
    answer = client.post(f"/deployments/{deployment.pk}/{way}", given)
    assert answer.status_code == 302, answer.content.decode()[-3000:]
    operation = Operation.objects.get()
    assert answer["Location"] == f"/operations/{operation.pk}/"
    return operation


def test_a_stack_is_scaled_and_it_is_on_record(signed_in: Client, deployment: Deployment, sent) -> None:
    applied(deployment)
    here = f"/deployments/{deployment.pk}/"
    assert f'href="{here}scale"' in html(signed_in, here)
    page = html(signed_in, f"{here}scale")
    assert 'name="server" value="1"' in page and "10\u00a0GiB" in page
    operation = begun(signed_in, deployment, "scale", server="3", chat="1", reason="a demonstration")
    assert (operation.kind, operation.request) == (OperationKind.SCALE, {"server": 3})
    entry = AuditEntry.objects.get(action="deployment.scale")
    assert (entry.before, entry.after, entry.reason) == ({"server": 1}, {"server": 3}, "a demonstration")
    # one change at a time, and the question says who is at it
    answer = signed_in.post(f"{here}scale", {"server": "2", "chat": "1"})
    assert answer.status_code == 409 and "started by olga" in answer.content.decode()
    assert f'href="{here}scale"' not in html(signed_in, here)


@pytest.mark.parametrize(
    ("server", "chat", "status", "words"),
    [
        ("1", "1", 409, "has these numbers of pods already"),
        ("-1", "1", 422, "greater than or equal to 0"),
        ("many", "1", 422, "whole number"),
        ("101", "1", 422, "less than or equal to 100"),
        ("", "1", 422, "required"),
    ],
)
def test_numbers_that_cannot_be_are_told(
    signed_in: Client, deployment: Deployment, server: str, chat: str, status: int, words: str
) -> None:
    applied(deployment)
    answer = signed_in.post(f"/deployments/{deployment.pk}/scale", {"server": server, "chat": chat})
    assert answer.status_code == status
    assert words in answer.content.decode()
    assert not Operation.objects.exists()


def test_a_claim_for_one_node_allows_one_server(signed_in: Client, deployment: Deployment) -> None:
    storage = StorageSpec(mode=StorageMode.EXISTING, claim_name="models")
    applied(deployment, StackSpec(storage=storage))
    here = f"/deployments/{deployment.pk}/scale"
    assert "mounted on one node only" in html(signed_in, here)
    answer = signed_in.post(here, {"server": "2", "chat": "1"})
    assert answer.status_code == 422
    assert "allows one replica" in str(answer.context["form"].errors["server"])
    begun(signed_in, deployment, "scale", server="0", chat="1")


def test_what_an_autoscaler_decides_is_not_asked(signed_in: Client, deployment: Deployment) -> None:
    scaled = AutoscalingSpec(enabled=True, min_replicas=2, max_replicas=5)
    spec = StackSpec(server=ServerSpec(autoscaling=scaled))
    release = applied(deployment, spec)
    here = f"/deployments/{deployment.pk}/scale"
    page = html(signed_in, here)
    assert "2 to 5" in page and 'name="server"' not in page and 'name="chat"' in page
    assert signed_in.post(here, {"server": "3", "chat": "1"}).status_code == 409
    without = replace(spec, chat=ChatSpec(enabled=False))
    Release.objects.filter(pk=release.pk).update(spec=spec_to_json(sized(without)))
    assert "An autoscaler decides" in html(signed_in, here, 409)
    assert not Operation.objects.exists()


def test_before_a_revision_is_applied_the_page_tells_of_a_scaling(
    signed_in: Client, deployment: Deployment
) -> None:
    applied(deployment)
    here = f"/deployments/{deployment.pk}/upgrade"
    assert "scaled to" not in html(signed_in, here)
    applied(deployment, StackSpec(server=ServerSpec(replicas=3)), number=2)
    assert "It was scaled to 3 servers since." in html(signed_in, here)


def test_a_restart_names_what_is_restarted(signed_in: Client, deployment: Deployment, sent) -> None:
    applied(deployment)
    here = f"/deployments/{deployment.pk}/restart"
    assert "nobody answers" in html(signed_in, here)
    assert signed_in.post(here, {}).status_code == 422
    operation = begun(signed_in, deployment, "restart", components=["chat"], reason="stuck")
    assert operation.title == "Restart the chat of r1"
    assert operation.request == {"components": ["chat"]}
    assert AuditEntry.objects.get(action="deployment.restart").reason == "stuck"


def test_a_roll_back_says_what_differs(signed_in: Client, deployment: Deployment, sent) -> None:
    applied(deployment)
    applied(deployment, StackSpec(server=ServerSpec(replicas=2)), number=2)
    here = f"/deployments/{deployment.pk}/"
    assert f'href="{here}releases/1/roll-back"' in html(signed_in, f"{here}?tab=releases")
    assert f'href="{here}releases/2/roll-back"' not in html(signed_in, f"{here}?tab=releases")
    assert "Roll back to this" in html(signed_in, f"{here}releases/1/")
    assert "Roll back to this" not in html(signed_in, f"{here}releases/2/")
    page = html(signed_in, f"{here}releases/1/roll-back")
    assert "<del>2</del>" in page and "<ins>1</ins>" in page
    assert signed_in.post(f"{here}releases/2/roll-back").status_code == 409
    assert signed_in.post(f"{here}releases/3/roll-back").status_code == 404
    long = signed_in.post(f"{here}releases/1/roll-back", {"reason": "x" * 501})
    assert long.status_code == 422 and "longer than 500" in long.content.decode()
    operation = begun(signed_in, deployment, "releases/1/roll-back", reason="too many")
    assert (operation.kind, operation.request) == (OperationKind.ROLL_BACK, {"release": 1})
    entry = AuditEntry.objects.get(action="deployment.roll_back")
    assert (entry.before["release"], entry.after["release"]) == (2, 1)


def test_before_anything_was_applied_there_is_nothing_to_change(
    signed_in: Client, deployment: Deployment
) -> None:
    for way in ("scale", "restart"):
        assert "Nothing was applied yet" in html(signed_in, f"/deployments/{deployment.pk}/{way}", 409)
    assert "/scale" not in html(signed_in, f"/deployments/{deployment.pk}/")


@pytest.mark.parametrize("way", WAYS)
def test_viewers_and_strangers_change_nothing(
    client: Client, team: Team, deployment: Deployment, way: str
) -> None:
    applied(deployment)
    applied(deployment, number=2)
    here = f"/deployments/{deployment.pk}/{way}"
    given = {"server": "2", "chat": "1", "components": ["server"]}
    client.force_login(rows.person("vera", team, Role.VIEWER))
    assert client.get(here).status_code == client.post(here, given).status_code == 403
    page = html(client, f"/deployments/{deployment.pk}/?tab=releases")
    assert "/scale" not in page and "roll-back" not in page
    client.force_login(rows.person("stranger", Team.objects.create(name="Other", slug="other")))
    assert client.get(here).status_code == client.post(here, given).status_code == 404
    assert not Operation.objects.exists()


# Models -------------------------------------------------------------------------------------------
def lies(deployment: Deployment, *names: str, volume: str = "claim:a") -> None:
    """As if a probe had found these models on a volume."""
    models = [{"name": name, "size": 4_700_000_000} for name in names]
    Deployment.objects.filter(pk=deployment.pk).update(
        probes={"pods": {f"{deployment.name}-server-0": {"models": models, "volume": volume}}}
    )


def test_a_model_is_deleted_after_its_name_was_typed(
    signed_in: Client, deployment: Deployment, sent: list[tuple[int, str]]
) -> None:
    applied(deployment)
    lies(deployment, "deepseek-r1:1.5b", "hf.co/a/b:Q4")
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=model")
    where = f"/deployments/{deployment.pk}/models/delete?model="
    assert f'href="{where}hf.co%2Fa%2Fb%3AQ4"' in page and "4.7\u00a0GB" in page
    assert "answers with this model" in html(signed_in, f"{where}deepseek-r1%3A1.5b")
    assert "answers with this model" not in html(signed_in, f"{where}hf.co%2Fa%2Fb%3AQ4")
    html(signed_in, f"{where}unknown", 404)
    wrong = signed_in.post(f"{where}hf.co%2Fa%2Fb%3AQ4", {"confirm": "r1"})
    assert wrong.status_code == 422 and "Type hf.co/a/b:Q4 to confirm." in wrong.content.decode()
    answer = signed_in.post(f"{where}hf.co%2Fa%2Fb%3AQ4", {"confirm": "hf.co/a/b:Q4", "reason": "space"})
    operation = Operation.objects.get()
    assert answer["Location"] == f"/operations/{operation.pk}/"
    assert operation.request == {"model": "hf.co/a/b:Q4"}
    entry = AuditEntry.objects.get(action="model.delete")
    assert entry.before["bytes"] == 4_700_000_000 and entry.reason == "space"


def test_a_model_that_others_answer_with_stays(signed_in: Client, deployment: Deployment) -> None:
    applied(deployment)
    lies(deployment, "deepseek-r1:1.5b")
    other = rows.deployment(deployment.revision, deployment.cluster, "r2")
    lies(other, "deepseek-r1:1.5b")
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=model")
    assert "also served by r2" in " ".join(page.split()) and "models/delete" not in page
    where = f"/deployments/{deployment.pk}/models/delete?model=deepseek-r1%3A1.5b"
    answer = signed_in.post(where, {"confirm": "deepseek-r1:1.5b"})
    assert answer.status_code == 409 and "r2 answers with this model" in answer.content.decode()
    rows.operation(deployment, OperationKind.UPGRADE)
    other.delete()
    answer = signed_in.post(where, {"confirm": "deepseek-r1:1.5b"})
    assert answer.status_code == 409 and "under way" in answer.content.decode()


def test_an_operator_deletes_no_model(client: Client, team: Team, deployment: Deployment) -> None:
    applied(deployment)
    lies(deployment, "deepseek-r1:1.5b")
    client.force_login(rows.person("otto", team, Role.OPERATOR))
    assert "models/delete" not in html(client, f"/deployments/{deployment.pk}/?tab=model")
    where = f"/deployments/{deployment.pk}/models/delete?model=deepseek-r1%3A1.5b"
    assert client.post(where, {"confirm": "deepseek-r1:1.5b"}).status_code == 403


def test_a_model_that_is_missing_is_pulled_from_the_page(
    signed_in: Client, deployment: Deployment, sent
) -> None:
    applied(deployment)
    here = f"/deployments/{deployment.pk}/"
    assert signed_in.post(f"{here}models/pull").status_code == 409
    pods = {
        "r1-server-0": {"model_present": True, "volume": "claim:a"},
        "r1-server-1": {"model_present": False, "volume": "claim:b"},
        "r1-server-2": {"model_present": False, "volume": "claim:b"},
    }
    Deployment.objects.filter(pk=deployment.pk).update(probes={"pods": pods})
    assert "1 volume lacks it." in html(signed_in, f"{here}?tab=model")
    assert "onto 1 volume." in html(signed_in, f"{here}models/pull")
    answer = signed_in.post(f"{here}models/pull", {"reason": "a new disk"})
    pull = Operation.objects.get(kind=OperationKind.PULL)
    assert answer["Location"] == f"/operations/{pull.pk}/"
    assert (pull.request["volume"], pull.request["pod"]) == ("claim:b", "r1-server-1")
    assert AuditEntry.objects.get(action="model.pull").reason == "a new disk"
    signed_in.post(f"{here}models/pull")
    assert Operation.objects.filter(kind=OperationKind.PULL).count() == 1, "one pull for each volume"
    rows.operation(deployment, OperationKind.UPGRADE)
    assert "models/pull" not in html(signed_in, f"{here}?tab=model")
    assert signed_in.post(f"{here}models/pull").status_code == 409
