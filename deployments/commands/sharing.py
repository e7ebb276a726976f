"""Sharing profiles: with chosen teams, with all by the catalog, and by copies of their own."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from deployments.commands.base import command
from deployments.commands.profiles import create_profile, read_secrets
from deployments.commands.subjects import of_profile
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.spec import Secrets, spec_from_json, without_secrets
from deployments.domain.states import ShareLevel
from deployments.domain.team_names import skeleton
from deployments.ledger import audit
from deployments.ledger.announce import announce
from deployments.models import Profile, ProfileShare, Revision, Team
from deployments.policies import Action, may_write_profile, require, require_seen
from deployments.selectors import lookup


@command(Action.SHARE_PROFILE)
def share_profile(actor: Actor, *, profile_id: int, team_name: str, level: ShareLevel) -> ProfileShare:
    """Let another team use a profile, or edit it too; again with another level to change that.

    The team is named and not chosen from a list: who shares need not know which teams there are.
    Raises :class:`InvalidInput` at ``team_name``.
    """
    profile = _present(actor, profile_id)
    action = Action.SHARE_FOR_EDITING if level is ShareLevel.EDIT else Action.SHARE_PROFILE
    require_seen(actor, action, of_profile(profile))
    team = Team.objects.filter(skeleton=skeleton(team_name)).first()
    if team is None:
        raise InvalidInput("There is no team of that name.", field="team_name")
    if team.pk == profile.team_id:
        raise InvalidInput(f"{team} owns the profile already.", field="team_name")
    before = ProfileShare.objects.select_for_update().filter(profile=profile, team=team).first()
    if before is not None and before.level == ShareLevel.EDIT:
        # Taking away the right to edit undoes what an owner decided.
        require_seen(actor, Action.SHARE_FOR_EDITING, of_profile(profile))
    share, _made = ProfileShare.objects.update_or_create(
        profile=profile, team=team, defaults={"level": level}
    )
    _touched(profile)
    audit.record(
        actor,
        action,
        of_profile(profile),
        before={"team": team.name, "level": before.level} if before else None,
        after={"team": team.name, "level": level},
    )
    return share


@command(Action.SHARE_PROFILE)
def withdraw_share(actor: Actor, *, profile_id: int, team_id: int) -> None:
    """End a sharing. What the team runs goes on, at the revision it has."""
    profile = lookup.profile(actor, profile_id)
    share = ProfileShare.objects.select_related("team").filter(profile=profile, team_id=team_id).first()
    require_seen(actor, Action.SHARE_PROFILE, of_profile(profile))
    if share is None:
        raise NotFound("It is not shared with that team.")
    if share.level == ShareLevel.EDIT:
        require_seen(actor, Action.SHARE_FOR_EDITING, of_profile(profile))
    before = {"team": share.team.name, "level": share.level}
    share.delete()
    _touched(profile)
    audit.record(actor, "profile.withdraw_share", of_profile(profile), before=before)


@command(Action.ASK_FOR_CATALOG)
def ask_for_catalog(actor: Actor, *, profile_id: int) -> None:
    """Ask the site's admins to put a profile into the catalog, where every team may use it."""
    profile = _present(actor, profile_id)
    require_seen(actor, Action.ASK_FOR_CATALOG, of_profile(profile))
    asked = Profile.objects.filter(pk=profile.pk, catalog_at=None, catalog_asked_at=None)
    if not asked.update(catalog_asked_at=timezone.now(), version=F("version") + 1):
        raise Conflict("It was asked for, or is in the catalog, already.")
    audit.record(actor, Action.ASK_FOR_CATALOG, of_profile(profile))


@command(Action.PUBLISH_PROFILE)
def publish_profile(actor: Actor, *, profile_id: int) -> None:
    """Put a profile into the catalog. A registry password in it would work for every team, so such a
    profile is refused, also where only an older revision holds one: each of them can be installed. Raises
    :class:`Conflict`."""
    profile = _present(actor, profile_id)
    require(actor, Action.PUBLISH_PROFILE, of_profile(profile))
    holding = [str(row.number) for row in profile.revisions.order_by("number") if row.secrets]
    if holding:
        raise Conflict(
            f"An access code or a registry password is in {'revision' if len(holding) == 1 else 'revisions'} "
            f"{', '.join(holding)}.",
            remedy="In the catalog every team would use them. Take them out, copy the profile and publish the "
            "copy: it begins anew with one revision.",
        )
    if not Profile.objects.filter(pk=profile.pk, catalog_at=None).update(
        catalog_at=timezone.now(), catalog_asked_at=None, version=F("version") + 1
    ):
        raise Conflict("It is in the catalog already.")
    audit.record(actor, Action.PUBLISH_PROFILE, of_profile(profile))


@command(Action.PUBLISH_PROFILE)
def withdraw_from_catalog(actor: Actor, *, profile_id: int) -> None:
    """Take a profile out of the catalog, or turn a wish for it down. What runs goes on."""
    profile = lookup.profile(actor, profile_id)
    require(actor, Action.PUBLISH_PROFILE, of_profile(profile))
    if profile.catalog_at is None and profile.catalog_asked_at is None:
        raise Conflict("It is not in the catalog.")
    action = "profile.withdraw_from_catalog" if profile.catalog_at else "profile.refuse_for_catalog"
    Profile.objects.filter(pk=profile.pk).update(
        catalog_at=None, catalog_asked_at=None, version=F("version") + 1
    )
    audit.record(actor, action, of_profile(profile))


@command(Action.WRITE_PROFILE)
def clone_profile(actor: Actor, *, revision_id: int, team_id: int, name: str) -> Revision:
    """Copy a revision into a profile of a team, which remembers where it came from. The name of the source is
    written nowhere else: who sees the copy need not see the source.

    The access code and the registry password go along only for somebody who may write the source: who
    only uses a profile must not carry its secrets off. Raises as :func:`create_profile` does.
    """
    source = lookup.revision(actor, revision_id)
    profile = source.profile
    spec = spec_from_json(source.spec)
    carried = may_write_profile(actor, profile)
    made = create_profile(
        actor,
        team_id=team_id,
        name=name,
        spec=spec if carried else without_secrets(spec),
        secrets=read_secrets(source) if carried else Secrets(),
        description=profile.description,
    )
    Profile.objects.filter(pk=made.profile_id).update(origin=source)
    return made


def _present(actor: Actor, profile_id: int) -> Profile:
    profile = lookup.profile(actor, profile_id)
    if profile.archived_at is not None:
        raise Conflict("This profile is archived.")
    return profile


def _touched(profile: Profile) -> None:
    Profile.objects.filter(pk=profile.pk).update(version=F("version") + 1)
    announce("profile", profile.pk, profile.version + 1, team=profile.team_id)
