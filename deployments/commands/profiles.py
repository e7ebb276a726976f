"""Profiles: created, saved as a new revision, renamed, archived."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_profile
from deployments.domain.actors import Actor
from deployments.domain.diffing import changes
from deployments.domain.errors import Conflict, InvalidInput, ManyInvalid
from deployments.domain.spec import Secrets, StackSpec, spec_from_json, spec_to_json
from deployments.domain.subjects import Subject
from deployments.domain.validation import validate_spec
from deployments.ledger import audit, vault
from deployments.ledger.announce import announce
from deployments.models import Profile, Revision
from deployments.policies import Action, require, require_profile_writer, require_seen
from deployments.selectors import lookup


@command(Action.WRITE_PROFILE)
def create_profile(
    actor: Actor,
    *,
    team_id: int,
    name: str,
    spec: StackSpec,
    secrets: Secrets | None = None,
    description: str = "",
    note: str = "",
) -> Revision:
    """Make a profile with its first revision. Raises :class:`InvalidInput`/:class:`ManyInvalid` and
    :class:`Conflict` where the team has one of that name."""
    team = lookup.team(actor, team_id)
    require(actor, Action.WRITE_PROFILE, Subject("profile", name=name, team_id=team.pk))
    name, description = _about(name, description)
    try:
        with transaction.atomic():
            profile = Profile.objects.create(
                team=team, name=name, description=description, created_by_id=actor.user_id
            )
    except IntegrityError as error:
        raise Conflict(
            f"{team.name} has a profile named {name} already.",
            remedy="Choose another name, or save a new revision of that one.",
        ) from error
    revision = _save(actor, profile, spec, secrets or Secrets(), note)
    audit.record(
        actor,
        "profile.create",
        of_profile(profile),
        after={"revision": revision.number, "spec": revision.spec},
        reason=revision.note,
    )
    return revision


@command(Action.WRITE_PROFILE)
def save_revision(
    actor: Actor,
    *,
    profile_id: int,
    based_on: int,
    spec: StackSpec,
    secrets: Secrets | None = None,
    note: str = "",
) -> Revision:
    """Save another state of a profile as its next revision.

    ``based_on`` is the revision the writer had before him: where somebody saved another one since,
    :class:`Conflict` is raised and nothing is overwritten. ``secrets`` None keeps those of that
    revision. The same content again makes no new revision.
    """
    profile = lookup.profile(actor, profile_id)
    require_profile_writer(actor, profile)
    latest = profile.revisions.order_by("-number").first()
    assert latest is not None, "a profile has a revision from the start"
    if latest.number != based_on:
        raise Conflict(
            f"Revision {latest.number} was saved while you edited revision {based_on}.",
            remedy="Open the newest revision and make your change there; what you typed is still here.",
        )
    kept = secrets if secrets is not None else read_secrets(latest)
    if secrets is None and kept.registry_password:
        require_same_registry(spec_from_json(latest.spec), spec)
    before = latest.spec
    revision = _save(actor, profile, spec, kept, note)
    if revision.pk != latest.pk:
        differing = changes(before, revision.spec)
        audit.record(
            actor,
            "profile.save",
            of_profile(profile),
            before={change.path: str(change.before) for change in differing},
            after={"revision": revision.number} | {change.path: str(change.after) for change in differing},
            reason=revision.note,
        )
    return revision


@command(Action.WRITE_PROFILE)
def rename_profile(
    actor: Actor, *, profile_id: int, name: str, description: str, seen: dict[str, str] | None = None
) -> Profile:
    """Call a profile otherwise, or say otherwise what it is for. Its revisions and what was installed
    from them stay as they are.

    ``seen`` is the name and the description that the writer had before him: where somebody gave it others
    since, :class:`Conflict` is raised and nothing is overwritten. Raises :class:`InvalidInput` with the
    field, :class:`Conflict` also where the team has another one of that name or the profile is archived.
    """
    profile = lookup.profile(actor, profile_id)
    require_profile_writer(actor, profile)
    if profile.archived_at is not None:
        raise Conflict("This profile is archived.")
    name, description = _about(name, description)
    before = {"name": profile.name, "description": profile.description}
    after = {"name": name, "description": description}
    if after == before:
        return profile
    if seen is not None and seen != before:
        raise Conflict(
            f"Somebody changed it meanwhile: it is named {profile.name} now.",
            remedy="Open the page again and look; what you typed is still here.",
        )
    try:
        with transaction.atomic():
            Profile.objects.filter(pk=profile.pk).update(**after, version=F("version") + 1)
    except IntegrityError as error:
        raise Conflict(
            f"{profile.team.name} has a profile named {name} already.", remedy="Choose another name."
        ) from error
    profile.refresh_from_db()
    announce("profile", profile.pk, profile.version, team=profile.team_id)
    audit.record(actor, "profile.rename", of_profile(profile), before=before, after=after)
    return profile


@command(Action.ARCHIVE_PROFILE)
def archive_profile(actor: Actor, *, profile_id: int, reason: str = "") -> None:
    """Take a profile out of the lists. Deployments made from it go on, and its revisions stay."""
    profile = lookup.profile(actor, profile_id)
    require_seen(actor, Action.ARCHIVE_PROFILE, of_profile(profile))
    archived = Profile.objects.filter(pk=profile.pk, archived_at=None).update(
        archived_at=timezone.now(), version=F("version") + 1
    )
    if archived:
        announce("profile", profile.pk, profile.version + 1, team=profile.team_id)
        audit.record(actor, "profile.archive", of_profile(profile), reason=checked_reason(reason))


def require_same_registry(before: StackSpec, after: StackSpec) -> None:
    """Raise :class:`InvalidInput` where a password that nobody typed anew would be sent to another registry
    than it was given for."""
    if (
        after.images.registry_username
        and before.images.registry.split("/")[0] != (after.images.registry.split("/")[0])
    ):
        raise InvalidInput(
            f"The stored password is for {before.images.registry.split('/')[0] or 'Docker Hub'}.",
            field="images.registry_password",
            remedy="Give the password of the new registry.",
        )


def read_secrets(revision: Revision) -> Secrets:
    """The decrypted secrets of a revision. Raises :class:`Unreadable`."""
    return Secrets(**vault.unseal(revision.secrets)) if revision.secrets else Secrets()


def _about(name: str, description: str) -> tuple[str, str]:
    name, description = name.strip(), description.strip()
    if not name or len(name) > 80 or not name.isprintable():
        raise InvalidInput("A profile's name has 1 to 80 printable characters.", field="name")
    if len(description) > 500:
        raise InvalidInput("The description is longer than 500 characters.", field="description")
    return name, description


def _save(actor: Actor, profile: Profile, spec: StackSpec, secrets: Secrets, note: str) -> Revision:
    spec = replace(
        spec,
        chat=replace(spec.chat, has_access_code=bool(secrets.access_code)),
    )
    faults = validate_spec(spec)
    if spec.images.registry_username and not secrets.registry_password:
        faults.append(
            InvalidInput("A registry's user name needs its password.", field="images.registry_password")
        )
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise ManyInvalid(faults)
    content = spec_to_json(spec)
    sealed_from = json.dumps([content, secrets.access_code, secrets.registry_password], sort_keys=True)
    digest = hashlib.sha256((vault.fingerprint(sealed_from) + json.dumps(content, sort_keys=True)).encode())
    last = profile.revisions.order_by("-number").first()
    if last is not None and last.digest == digest.hexdigest():
        return last
    highest = profile.revisions.aggregate(highest=Max("number"))["highest"] or 0
    holds_any = secrets != Secrets()
    if holds_any and profile.catalog_at is not None:
        raise InvalidInput(
            "A profile in the catalog holds no access code and no registry password: every team would use them.",
            field="chat.access_code" if secrets.access_code else "images.registry_password",
        )
    try:
        with transaction.atomic():
            revision = Revision.objects.create(
                profile=profile,
                number=highest + 1,
                spec=content,
                secrets=vault.seal(vars(secrets)) if holds_any else b"",
                digest=digest.hexdigest(),
                note=checked_reason(note),
                created_by_id=actor.user_id,
            )
    except IntegrityError as error:
        raise Conflict(
            "Somebody saved this profile at the same moment.", remedy="Open the newest revision."
        ) from error
    Profile.objects.filter(pk=profile.pk).update(version=F("version") + 1)
    announce("profile", profile.pk, profile.version + 1, team=profile.team_id)
    return revision
