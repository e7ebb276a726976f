"""What the team's grant on the cluster allows: its quota, and the registries of models and images.

Pilothouse knows this without asking the cluster; the command that begins a change decides by the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from deployments.commands.quotas import foreign_hosts
from deployments.domain.findings import Finding
from deployments.domain.quota import WORDS, Share, from_json, of_spec, shares, words
from deployments.domain.spec import StackSpec
from deployments.selectors.quotas import Standing
from deployments.workflows.checks.levels import FAIL, PASS

SOURCE = "the team's grant in Pilothouse"


def granted(standing: Standing | None, spec: StackSpec) -> Iterator[Finding]:
    """Nothing where there is no grant to judge by: a site admin asks about the cluster alone."""
    if standing is None:
        return
    yield _quota(standing, spec)
    yield from _registries(standing, spec)


def _quota(standing: Standing, spec: StackSpec) -> Finding:
    grant = standing.grant
    asked = shares(from_json(grant.quota, missing=None), standing.others, standing.own, of_spec(spec))
    if not asked:
        return Finding("team_quota", PASS, f"No quota bounds {grant.team} on {grant.cluster}", source=SOURCE)
    over = [one for one in asked if one.over]
    if over:
        return Finding(
            "team_quota",
            FAIL,
            f"The quota of {grant.team} on {grant.cluster} leaves too little",
            _evidence(over),
            "Ask for less in the profile, uninstall something, or ask a site admin for a larger quota.",
            SOURCE,
        )
    return Finding(
        "team_quota",
        PASS,
        f"The quota of {grant.team} on {grant.cluster} leaves enough",
        _evidence(asked),
        source=SOURCE,
    )


def _evidence(asked: list[Share]) -> str:
    text = "; ".join(map(_words, asked))
    return text[:1].upper() + text[1:]


def _words(one: Share) -> str:
    """ "GPUs: asks for 4, 6 of 8 used by others, 2 left, 2 too much"."""
    what = WORDS[one.name]
    asked, others, most, left, own, over = (
        words(one.name, n) for n in (one.asked, one.others, one.most, one.left, one.own, one.over)
    )
    # Whole, since it is translated whole.
    return (
        f"{what}: asks for {asked}{f' instead of {own}' if one.own not in (0, one.asked) else ''},"
        f" {others} of {most} used{' by others' if one.own else ''},"
        f" {left} left{f', {over} too much' if one.over else ''}"
    )


def _registries(standing: Standing, spec: StackSpec) -> Iterator[Finding]:
    grant = standing.grant
    refused = foreign_hosts(grant, spec)
    for one in refused:
        models = one.what == "models"
        yield Finding(
            "team_registries",
            FAIL,
            f"{grant.team} may not {'pull models' if models else 'run images'} from {one.host} "
            f"on {grant.cluster}",
            f"allowed: {', '.join(one.allowed)}",
            f"Take the {'model' if models else 'image'} from one of these, or ask a site admin to allow "
            f"{one.host}.",
            SOURCE,
            "model" if models else "images",
        )
    if not refused and (grant.model_registries or grant.image_registries):
        allowed = dict.fromkeys([*grant.model_registries, *grant.image_registries])
        yield Finding(
            "team_registries",
            PASS,
            "Model and images come from registries that the grant allows",
            f"allowed: {', '.join(allowed)}",
            source=SOURCE,
        )
