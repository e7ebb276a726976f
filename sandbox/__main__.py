"""`python -m sandbox`: run the practice cluster alone.

    python -m sandbox --kubeconfig FILE            any free port, objects gone on stop
    python -m sandbox --state DIR --port 6443      keeps certificates, tokens and objects in DIR
    python -m sandbox --scenario scale --pods 10000   a large cluster whose pods change all the time

Prints the address as the first line of standard output. SIGTERM or Ctrl-C stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sandbox import kubeconfig
from sandbox.access import User
from sandbox.cluster import Cluster, Options
from sandbox.store import Store

SCALE = "scale"


def token_user(text: str) -> tuple[str, User]:
    """`NAME=TOKEN:group1,group2` -> (token, user)."""
    name, equals, rest = text.partition("=")
    token, _, groups = rest.partition(":")
    if not name or not equals or not token:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TOKEN[:GROUP,GROUP]")
    return token, User(name, tuple(group for group in groups.split(",") if group))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m sandbox", description="A practice cluster that speaks the Kubernetes API."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=0, help="0 takes the port of last time, else any free one"
    )
    parser.add_argument("--state", type=Path, help="directory that keeps certificates, tokens and objects")
    parser.add_argument("--kubeconfig", type=Path, help="write the administrator's kubeconfig here")
    parser.add_argument("--speed", type=float, default=1.0, help="factor of simulated time")
    parser.add_argument("--seed", type=int, help="makes uids and random names repeatable")
    parser.add_argument("--scenario", default="default", help="which nodes and GPUs there are")
    large = parser.add_argument_group("with --scenario scale")
    large.add_argument("--nodes", type=int, default=500)
    large.add_argument("--pods", type=int, default=10_000)
    large.add_argument("--gpus", type=int, default=2_000)
    large.add_argument("--changes", type=float, default=200.0, help="of pods, a second")
    large.add_argument(
        "--labelled", type=float, default=0.2, help="share of the pods that Pilothouse deployed"
    )
    large.add_argument("--prometheus", action="store_true", help="one that scrapes the exporters")
    large.add_argument("--namespaces", help="where those are, joined by commas")
    parser.add_argument("--no-world", action="store_true", help="the bare API: no controllers, no nodes")
    parser.add_argument(
        "--token",
        type=token_user,
        action="append",
        default=[],
        metavar="NAME=TOKEN:GROUPS",
        help="another user",
    )
    return parser.parse_args(arguments)


def world_maker(arguments: argparse.Namespace) -> Callable[[Store], Any]:
    """The simulated world; loaded only when it is wanted, the bare API starts faster without."""
    if arguments.scenario == SCALE:
        return scale_maker(arguments)
    make_world = importlib.import_module("sandbox.world").make_world
    return lambda store: make_world(
        store,
        speed=arguments.speed,
        scenario=arguments.scenario,
        seed=arguments.seed,
        data_dir=arguments.state,
    )


def scale_maker(arguments: argparse.Namespace) -> Callable[[Store], Any]:
    """Raises ValueError for sizes that make no cluster, and for a directory to keep it in."""
    if arguments.state is not None:
        raise ValueError(
            "a large cluster is made anew each time, the same for the same seed: leave out --state"
        )
    scale = importlib.import_module("sandbox.scale")
    more = {"namespaces": tuple(arguments.namespaces.split(","))} if arguments.namespaces else {}
    size = scale.Size(
        nodes=arguments.nodes,
        pods=arguments.pods,
        gpus=arguments.gpus,
        changes=arguments.changes,
        seed=arguments.seed if arguments.seed is not None else 1,
        labelled=arguments.labelled,
        prometheus=arguments.prometheus,
        **more,
    )
    return lambda store: scale.ScaleWorld(store, size)


def options_of(arguments: argparse.Namespace) -> Options:
    """Raises ValueError for what does not go together."""
    return Options(
        host=arguments.host,
        port=arguments.port,
        state=arguments.state,
        seed=arguments.seed,
        tokens=dict(arguments.token),
        world=None if arguments.no_world else world_maker(arguments),
    )


async def run(arguments: argparse.Namespace, options: Options) -> None:
    cluster = Cluster(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await cluster.start()
    if arguments.kubeconfig is not None:
        kubeconfig.write(arguments.kubeconfig, cluster.kubeconfig())
    print(cluster.url, flush=True)
    await stop.wait()
    await cluster.stop()


def main() -> int:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    arguments = parse(sys.argv[1:])
    try:
        options = options_of(arguments)
    except ValueError as error:
        sys.exit(f"python -m sandbox: {error}")
    asyncio.run(run(arguments, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
