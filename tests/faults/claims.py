"""Which test sees which fault of the practice cluster; ``test_claims.py`` holds both lists to the truth.

A fault is seen on a page that somebody has open in a browser, or it says here why not and where it is
seen instead.
"""

from __future__ import annotations

# Fault -> the browser test that walks through it.
IN_THE_BROWSER = {
    **dict.fromkeys(
        (
            "probe_failure",
            "node_not_ready",
            "node_lost",
            "crash_loop",
            "oom",
            "container_error",
            "pod_start_error",
            "quota",
            "image_pull_error",
            "evict",
            "cordon",
            "unschedulable",
            "taint",
            "node_pressure",
            "lost_claims",
            "unbound_claims",
            "stalled_pull",
        ),
        "tests/e2e/test_troubles.py",
    ),
    **dict.fromkeys(
        (
            "http_5xx",
            "unauthorized",
            "html_answer",
            "http_429",
            "drop",
            "watch_close",
            "exporters_gone",
        ),
        "tests/e2e/test_cluster_troubles.py",
    ),
}

# Fault -> (the test that sees it, why no browser does).
ELSEWHERE = {
    "slow": ("tests/faults/test_silent_server.py", "a server is given ten seconds before it counts as gone"),
    "gone_410": (
        "tests/core/test_observer_trouble.py",
        "the observer lists again, and nothing is to be seen",
    ),
    "watch_stall": ("tests/core/test_observer_trouble.py", "a watch may be silent for a minute and more"),
    "no_gpu": (
        "tests/faults/test_faults.py",
        "the stack that the browser has open wants no GPU; what the scheduler says then is `unschedulable`",
    ),
    "failing_pull_part": (
        "tests/faults/test_faults.py",
        "Ollama fetches the part again, and the pull succeeds",
    ),
    "disk_full": ("tests/faults/test_faults.py", "it ends a pull: an operation's page says it, once"),
    "pull_error": ("tests/faults/test_faults.py", "it ends a pull: an operation's page says it, once"),
    "lost_model": ("tests/faults/test_faults.py", "pods are asked for their models every half minute"),
    "gpu_exporter": (
        "tests/core/test_sampling.py",
        "GPUs are sampled every 15 seconds, and variants are many",
    ),
    "node_labels": ("tests/faults/test_faults.py", "a preflight reads them, and nothing that is installed"),
    "prometheus": ("tests/core/test_sampling.py", "GPUs are sampled every 15 seconds, and answers are many"),
}
