"""Pages of clusters: what they say, what they refuse, and that no credential is shown."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from deployments.domain.states import Health, OperationKind, OperationState, Role
from deployments.models import Cluster, Operation
from deployments.selectors.clusters import MOST_SHOWN
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client):
    user = make.make_admin()
    client.force_login(user)
    return user


def connect(client: Client, **given: object):
    data = {"name": "fra", "way": "kubeconfig", "kubeconfig": "", "namespaces": "*", **given}
    return client.post(reverse("cluster_connect"), data)


def test_empty_list_offers_the_next_step_to_whom_may_take_it(client: Client, admin):
    assert reverse("cluster_connect") in client.get(reverse("clusters")).content.decode()
    client.force_login(make.make_member(make.default_team(), Role.OWNER))
    page = client.get(reverse("clusters")).content.decode()
    assert "No cluster is granted" in page
    assert reverse("cluster_connect") not in page
    assert client.get(reverse("cluster_connect")).status_code == 403


def test_connecting_stores_it_and_begins_a_check(client: Client, admin):
    team = make.default_team()
    answer = connect(client, kubeconfig=make.kubeconfig(), teams=[team.pk], namespaces="llm-* shared")
    cluster = Cluster.objects.get()
    assert answer.status_code == 302
    assert answer.url == reverse("cluster", args=[cluster.pk])
    assert cluster.grants.get().namespaces == ["llm-*", "shared"]
    assert Operation.objects.get().kind == OperationKind.CHECK_CONNECTION
    page = client.get(answer.url).content.decode()
    assert f'data-live="list:0 cluster:{cluster.pk} operation:' in page
    assert make.TOKEN not in page


def test_an_uploaded_file_does_as_well(client: Client, admin):
    file = SimpleUploadedFile("config", make.kubeconfig().encode())
    assert connect(client, file=file).status_code == 302


@pytest.mark.parametrize(
    "text, words",
    [
        (make.kubeconfig(user={"exec": {"command": "aws"}}), "exec"),
        (make.kubeconfig(user={"tokenFile": "/etc/token"}), "tokenFile"),
        (make.kubeconfig(server="http://203.0.113.7:6443"), "https"),
        (make.kubeconfig(server="https://169.254.169.254"), "address"),
        ("a: [", "YAML"),
        ("a: &a [*a,*a]\n", ""),
        ("", "Paste a kubeconfig"),
    ],
)
def test_what_cannot_be_used_is_said_at_the_field(client: Client, admin, text, words):
    answer = connect(client, kubeconfig=text)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'id="id_kubeconfig_error"' in page
    assert words in page
    assert 'value="fra"' in page, "what was typed stays"
    assert make.TOKEN not in page
    assert not Cluster.objects.exists()


def test_ten_megabytes_are_refused_with_a_sentence(client: Client, admin):
    file = SimpleUploadedFile("config", b"a" * 10_000_000)
    answer = connect(client, file=file)
    assert answer.status_code == 422
    assert 'id="id_kubeconfig_error"' in answer.content.decode()


def test_ten_megabytes_pasted_are_refused_at_the_field(admin):
    client = Client(enforce_csrf_checks=True)  # the check of the token reads the form before the view
    client.force_login(admin)
    cluster = make.make_cluster(admin, "other")
    for where in (reverse("cluster_connect"), reverse("cluster_credential", args=[cluster.pk])):
        client.get(where)
        answer = client.post(where, {"name": "fra", "way": "kubeconfig", "kubeconfig": "a" * 10_000_000})
        page = answer.content.decode()
        assert answer.status_code == 413
        assert 'id="id_kubeconfig_error"' in page and "larger than 3 MiB" in page
        assert page.count('class="err"') == 1, "nothing else is complained of"
    client.force_login(make.make_member(make.default_team(), Role.OWNER))
    assert client.post(reverse("cluster_connect"), {"kubeconfig": "a" * 10_000_000}).status_code == 403
    answer = client.post(reverse("switch_team"), {"team": "a" * 10_000_000})
    assert answer.status_code == 422 and "send less" in answer.content.decode()


def test_of_several_contexts_one_is_asked_without_pasting_again(client: Client, admin):
    answer = connect(client, kubeconfig=make.kubeconfig("dev", "prod"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert '<option value="prod">' in page
    assert make.TOKEN not in page
    held = answer.context["form"]["held"].value()
    assert connect(client, held=held, context="prod").status_code == 302


def test_what_one_person_holds_is_of_no_use_to_another(client: Client, admin):
    held = connect(client, kubeconfig=make.kubeconfig("a", "b")).context["form"]["held"].value()
    client.force_login(make.make_admin("another"))
    answer = connect(client, held=held, context="a")
    assert answer.status_code == 422
    assert "no longer held" in answer.content.decode()


def test_a_taken_name_is_said_at_the_name(client: Client, admin):
    make.make_cluster(admin, "fra")
    answer = connect(client, kubeconfig=make.kubeconfig())
    assert answer.status_code == 422
    assert "already" in str(answer.context["form"].errors["name"])


def test_a_failed_check_says_what_answered_and_what_to_do(client: Client, admin):
    cluster = make.make_cluster(admin)
    Cluster.objects.filter(pk=cluster.pk).update(
        last_error="The API server refused the credential.",
        last_error_remedy="Give another one.",
        last_error_at=timezone.now(),
    )
    Operation.objects.update(state=OperationState.FAILED, failure_answered="401 Unauthorized")
    page = client.get(reverse("cluster", args=[cluster.pk])).content.decode()
    for words in ("refused the credential", "Give another one.", "401 Unauthorized"):
        assert words in page
    assert "1 cluster does not answer" in client.get(reverse("clusters")).content.decode()


def test_missing_rights_are_listed_with_the_remedy(client: Client, admin):
    cluster = make.make_cluster(admin)
    result = {"missing": ["create apps/statefulsets"], "missing_helpful": [], "asked": 30}
    Operation.objects.update(state=OperationState.SUCCEEDED, result=result)
    page = client.get(reverse("cluster", args=[cluster.pk])).content.decode()
    assert "create apps/statefulsets" in page
    assert "deploy/rbac.yaml" in page


def test_the_fragment_is_the_region_alone(client: Client, admin):
    cluster = make.make_cluster(admin)
    page = client.get(reverse("cluster", args=[cluster.pk]), headers={"X-Fragment": "1"}).content.decode()
    assert page.lstrip().startswith('<div id="cluster"')


def test_what_is_installed_is_told_with_the_rest_the_worst_first_and_not_without_end(client: Client, admin):
    cluster, revision = rows.cluster(), rows.revision(make.default_team())
    for number in range(MOST_SHOWN):
        rows.deployment(revision, cluster, name=f"fine-{number:02}")
    ill = rows.deployment(revision, cluster, name="zz-ill", health=Health.FAILED)
    Cluster.objects.filter(pk=cluster.pk).update(kubernetes_version="v1.36.3")
    where = reverse("cluster", args=[cluster.pk])
    region = client.get(where, headers={"X-Fragment": "1"}).content.decode()
    assert region.index("zz-ill") < region.index("fine-00") and f"deployment:{ill.pk}" in region
    assert "v1.36.3" in region and f"{MOST_SHOWN + 1} deployments are installed here" in region
    assert f"fine-{MOST_SHOWN - 1}" not in region
    assert f"{reverse('deployments')}?cluster={cluster.pk}" in region
    with CaptureQueriesContext(connection) as few:
        client.get(where)
    for number in range(5):
        rows.deployment(revision, cluster, name=f"more-{number}")
    with CaptureQueriesContext(connection) as more:
        client.get(where)
    assert len(more) == len(few)


def test_removing_asks_for_the_name(client: Client, admin):
    cluster = make.make_cluster(admin)
    where = reverse("cluster_remove", args=[cluster.pk])
    assert client.post(where, {"confirm": "fr"}).status_code == 422
    assert client.post(where, {"confirm": "fra"}).status_code == 302
    cluster.refresh_from_db()
    assert cluster.removed_at
    assert bytes(cluster.credential) == b""


def test_a_stranger_gets_404_and_a_member_no_deed(client: Client, admin):
    cluster = make.make_cluster(admin, teams=[])
    client.force_login(make.make_member(make.default_team(), Role.OWNER))
    assert client.get(reverse("cluster", args=[cluster.pk])).status_code == 404
    granted = make.make_cluster(admin, "granted")
    assert client.get(reverse("cluster", args=[granted.pk])).status_code == 200
    assert client.get(reverse("cluster_remove", args=[granted.pk])).status_code == 403


def test_the_list_costs_the_same_for_one_and_for_many(client: Client, admin, django_assert_num_queries):
    make.make_cluster(admin, "one")
    where = reverse("clusters")
    client.get(where)
    with CaptureQueriesContext(connection) as first:
        client.get(where)
    for number in range(5):
        make.make_cluster(admin, f"more-{number}")
    with django_assert_num_queries(len(first)):
        client.get(where)
