"""What workloads and claims say of themselves."""

from __future__ import annotations

from datetime import datetime

from deployments.domain.health.observed import ObservedStack, ObservedWorkload, Unapplied
from deployments.domain.health.reasons import RECENT, Cause
from deployments.domain.health.refusals import refusal
from deployments.domain.states import Health


def workload_causes(observed: ObservedStack, installing: bool) -> list[Cause]:
    """How far the workloads are from what is asked of them; the rules are those of kstatus
    (kubernetes-sigs/cli-utils)."""
    found = []
    for workload in observed.workloads:
        what = f"{workload.kind} {workload.name}"
        if not workload.exists:
            health = Health.PROGRESSING if installing else Health.MISSING
            sentence = (
                f"{what} is not there yet." if installing else f"{what} is not in the cluster any more."
            )
            remedy = "" if installing else "Apply the last release again."
            found.append(Cause(health, sentence, remedy, f"{what}: not found"))
        elif workload.deleting:
            found.append(Cause(Health.PROGRESSING, f"{what} is being deleted.", "", f"{what}: deleted"))
        else:
            found += _progress(workload, what, observed)
    return found


def unapplied_cause(unapplied: Unapplied) -> Cause:
    """What to say of a stack whose first release never got into the cluster, or not all of it."""
    operation_title, reason_text = unapplied.what, unapplied.sentence
    if unapplied.cancelled and unapplied.begun:
        sentence = f"Only a part of it is installed: “{operation_title}” was not finished ({reason_text})."
    elif unapplied.cancelled:
        sentence = f"Nothing is installed yet: “{operation_title}” was not carried out ({reason_text})."
    else:
        sentence = (
            f"Only a part of it is installed: “{operation_title}” failed."
            if unapplied.begun
            else f"Nothing is installed yet: “{operation_title}” failed."
        )
        sentence = f"{sentence} {reason_text}".rstrip()
    remedy = unapplied.remedy or "Apply it again, or uninstall it to remove it from the list."
    evidence = f"{unapplied.what}: {unapplied.answered}" if unapplied.answered else ""
    return Cause(Health.MISSING, sentence, remedy, evidence)


def failure_causes(observed: ObservedStack) -> list[Cause]:
    """Workloads that have given up, as they say themselves. A pod or an event knows better why."""
    found = []
    for workload in observed.workloads:
        what = f"{workload.kind} {workload.name}"
        if workload.deleting:
            continue
        if workload.refused:
            sentence, remedy = refusal(workload.refused)
            found.append(Cause(Health.FAILED, sentence, remedy, f"{what}: {workload.refused}"))
        elif workload.overdue:
            sentence = f"{what} has not got further for too long."
            remedy = "Read the events of its pods; roll back if the change was wrong."
            found.append(Cause(Health.FAILED, sentence, remedy, f"{what}: {workload.overdue}"))
    return found


def _progress(workload: ObservedWorkload, what: str, observed: ObservedStack) -> list[Cause]:
    said = f"{what}: {workload.ready} of {workload.desired} ready, {workload.updated} up to date"
    behind = workload.ready < workload.desired or workload.updated < workload.desired
    if workload.paused and (behind or not workload.current_generation_seen):
        remedy = f"Resume it: kubectl rollout resume {workload.kind.lower()}/{workload.name}"
        return [Cause(Health.DEGRADED, f"{what} is paused, so its update does not go on.", remedy, said)]
    if not workload.current_generation_seen:
        return [Cause(Health.PROGRESSING, f"{what} is being updated.", "", f"{what}: new generation")]
    if behind:
        sentence = f"Waiting for {what}: {workload.ready} of {workload.desired} ready."
        if workload.ready >= workload.desired:
            sentence = f"{what} is being updated: {workload.updated} of {workload.desired} done."
        if workload.component == "server" and observed.pulling:
            sentence = f"Downloading {observed.model}: {observed.pulling}."
        return [Cause(Health.PROGRESSING, sentence, "", said)]
    if workload.replicas is not None and workload.replicas > workload.desired:
        over = workload.replicas - workload.desired
        sentence = f"{what} is being updated: {over} more pod{'s' if over > 1 else ''} to end."
        return [Cause(Health.PROGRESSING, sentence, "", f"{what}: {workload.replicas} pods")]
    if workload.available is not None and workload.available < workload.desired:
        sentence = f"Waiting for {what}: {workload.available} of {workload.desired} ready for long enough."
        return [Cause(Health.PROGRESSING, sentence, "", said)]
    return []


_RESTORE = (
    "Delete the claim and the pods that use it, then apply the last release again: the model is pulled anew."
)


def claim_causes(observed: ObservedStack, now: datetime, installing: bool) -> list[Cause]:
    found = []
    for claim in observed.claims:
        about = f"PersistentVolumeClaim/{claim.name}"
        said = [e for e in observed.events if e.about == about and now - e.at <= RECENT]
        trouble = [e for e in said if e.reason in ("ProvisioningFailed", "FailedBinding")]
        if claim.phase == "Lost":
            sentence = f"The volume behind the claim {claim.name} is gone."
            found.append(Cause(Health.FAILED, sentence, _RESTORE, f"{about}: Lost"))
        elif not claim.phase:
            health = Health.PROGRESSING if installing else Health.MISSING
            sentence = f"The claim {claim.name} is not there."
            found.append(Cause(health, sentence, "Create the claim in the namespace.", f"{about}: not found"))
        elif claim.phase == "Pending" and trouble:
            sentence = f"The claim {claim.name} gets no volume."
            remedy = "Check the storage class: its name, its provisioner and its quota."
            evidence = f"{about}: {trouble[-1].reason}: {trouble[-1].message}"
            found.append(Cause(Health.FAILED, sentence, remedy, evidence))
        elif claim.phase == "Pending":
            evidence = f"{about}: Pending" + (f" ({said[-1].reason})" if said else "")
            found.append(
                Cause(Health.PROGRESSING, f"The claim {claim.name} waits for its volume.", "", evidence)
            )
    return found
