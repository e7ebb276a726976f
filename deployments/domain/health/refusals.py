"""Why a cluster refuses to create pods, from what its controllers say."""

from __future__ import annotations

import re

# What the API server answers a controller (recorded transcripts 21 and 25), sentence, remedy.
_REFUSALS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence, remedy)
    for pattern, sentence, remedy in (
        (
            r"failed quota: [^:]+: must specify",
            "The namespace's quota wants limits that the pod does not have.",
            "Set requests and limits in the profile, or let the namespace set defaults (LimitRange).",
        ),
        (
            r"exceeded quota",
            "The namespace's quota is used up.",
            "Raise the quota, or ask for less in the profile.",
        ),
        (
            r"violates PodSecurity",
            "The namespace's security level does not allow these pods.",
            "Label the namespace for a level that allows them, or use another namespace.",
        ),
        (
            r"(maximum|minimum) (cpu|memory|\S+) usage per|LimitRange",
            "The namespace's limits per pod or container are not kept.",
            "Ask for what its LimitRange allows, or change the LimitRange.",
        ),
        (
            r"admission webhook",
            "A policy of the cluster refuses these pods.",
            "Read the evidence: it names the policy.",
        ),
        (
            r"serviceaccount .* not found",
            "The service account of the pods does not exist.",
            "Create it, or install again.",
        ),
    )
)


def refusal(message: str) -> tuple[str, str]:
    """A sentence and a remedy."""
    for pattern, sentence, remedy in _REFUSALS:
        if pattern.search(message):
            return sentence, remedy
    return "The cluster refuses to create pods.", "Read the evidence: a quota or a policy says no."
