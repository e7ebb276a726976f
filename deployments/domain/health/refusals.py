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
            "Set requests and limits in the profile.",
        ),
        (
            r"exceeded quota",
            "The namespace's quota has no room for these pods.",
            "Raise the namespace's quota.",
        ),
        (
            r"violates PodSecurity",
            "The namespace's security level does not allow these pods.",
            "Label the namespace for a level that allows them.",
        ),
        (
            r"(maximum|minimum) (cpu|memory|\S+) usage per|max limit to request ratio|LimitRange",
            "The namespace's limits per pod or container are not kept.",
            "Ask in the profile for what its LimitRange allows.",
        ),
        (
            r"failed calling webhook",
            "A service that the cluster asks about new pods (a webhook) does not answer.",
            "Repair the service of the webhook that the evidence names.",
        ),
        (
            r"admission webhook|ValidatingAdmissionPolicy",
            "A policy of the cluster refuses these pods.",
            "Change the profile to suit the policy that the evidence names.",
        ),
        (
            r"serviceaccount .* not found",
            "The service account of the pods does not exist.",
            "Create it in the namespace.",
        ),
        (
            r"being terminated",
            "The namespace is being deleted, and takes no pods any more.",
            "Wait until it is gone, then install again.",
        ),
        (
            r"RuntimeClass .*not found",
            "The runtime class of the pods does not exist.",
            "Name a runtime class in the profile that the cluster has.",
        ),
        (
            r"no PriorityClass",
            "The priority class of the pods does not exist.",
            "Make the priority class that the evidence names.",
        ),
    )
)


def refusal(message: str) -> tuple[str, str]:
    """A sentence and a remedy."""
    for pattern, sentence, remedy in _REFUSALS:
        if pattern.search(message):
            return sentence, remedy
    return (
        "The cluster refuses to create pods.",
        "Correct what the evidence names: these are the API server's own words.",
    )
