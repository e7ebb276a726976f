"""Beginning a change again: judged by who asks now, and by what is allowed now."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.commands import sharing
from deployments.commands.operations import retry
from deployments.domain.actors import Actor
from deployments.domain.errors import Denied, InvalidInput
from deployments.domain.states import OperationKind, OperationState, Role, ShareLevel
from deployments.models import AuditEntry, Deployment, Operation
from deployments.selectors.operations import may_retry
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db
FAILED = OperationState.FAILED


@pytest.fixture
def deployment() -> Deployment:
    made = rows.deployment(rows.revision(make.default_team()), rows.cluster())
    rows.release(made, 1, [])
    return made


def member(role: Role) -> Actor:
    return make.as_actor(make.make_member(make.default_team(), role))


@pytest.mark.parametrize(
    "kind, request_, may_not, may",
    [
        (OperationKind.UNINSTALL, {"delete_data": True}, Role.MAINTAINER, Role.OWNER),
        (OperationKind.UNINSTALL, {"delete_data": False}, Role.OPERATOR, Role.MAINTAINER),
        (OperationKind.UPGRADE, {"force": True}, Role.MAINTAINER, Role.OWNER),
        (OperationKind.UPGRADE, {"force": False}, Role.VIEWER, Role.OPERATOR),
    ],
)
def test_who_could_not_have_begun_it_does_not_begin_it_again(
    deployment: Deployment, kind: OperationKind, request_: dict[str, Any], may_not: Role, may: Role
):
    request = {"revision": deployment.revision_id, **request_}
    old = rows.operation(deployment, kind, FAILED, request=request)
    weaker, stronger = member(may_not), member(may)
    assert (may_retry(weaker, old), may_retry(stronger, old)) == (False, True)
    with pytest.raises(Denied):
        retry(weaker, operation_id=old.pk)
    assert AuditEntry.objects.get(outcome="denied").action == "operation.retry"
    assert Operation.objects.count() == 1
    assert retry(stronger, operation_id=old.pk).kind == kind


def test_a_profile_that_is_no_longer_shared_is_not_applied_again(deployment: Deployment):
    theirs = make.make_team("Theirs")
    foreign = rows.revision(theirs, "foreign")
    owner = make.as_actor(make.make_member(theirs, Role.OWNER))
    sharing.share_profile(owner, profile_id=foreign.profile_id, team_name="default", level=ShareLevel.USE)
    old = rows.operation(deployment, OperationKind.UPGRADE, FAILED, request={"revision": foreign.pk})
    sharing.withdraw_share(owner, profile_id=foreign.profile_id, team_id=deployment.team_id)
    with pytest.raises(InvalidInput):
        retry(member(Role.OWNER), operation_id=old.pk)
    assert Operation.objects.count() == 1
