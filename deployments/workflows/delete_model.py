"""Delete a model through Ollama, once on each volume that a running server mounts."""

from __future__ import annotations

from deployments.domain.errors import ModelError
from deployments.workflows.access import client_for
from deployments.workflows.engine import Done, Run
from deployments.workflows.probe import probe
from deployments.workflows.servers import ServerPod, ollama, server_pods


def delete(run: Run) -> Done:
    """Deleting what is not there is done already, so the step can be repeated."""
    deployment, model = run.deployment, run.operation.request["model"]
    client = client_for(deployment.cluster)
    volumes: dict[str, ServerPod] = {}
    for pod in server_pods(client, deployment):
        if pod.phase == "Running" and not pod.terminating:
            volumes.setdefault(pod.volume, pod)
    if not volumes:
        raise ModelError(
            "No server runs, so there is nobody to delete it.",
            tried=f"delete {model}",
            remedy="Scale the deployment to one server, then delete the model again.",
            retryable=True,
        )
    gone = 0
    for pod in volumes.values():
        run.hold.check()
        if ollama(client, deployment, pod.name).delete(model):
            gone += 1
            run.note(f"{pod.name}: {model} deleted")
    probe(deployment.pk)  # so that the pages know
    if not gone:
        return Done(f"{model} was not there")
    return Done(f"{model} deleted from {gone} volume{'s' if gone > 1 else ''}", result={"volumes": gone})
