"""Who acts when somebody works from a terminal."""

from __future__ import annotations

import getpass

from deployments.domain.actors import Actor
from deployments.domain.states import SiteRole


def command_line_actor() -> Actor:
    """A site admin named after the account of the operating system: whoever can run manage.py can read
    the database and its keys anyway, so only his name is worth recording."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no entry for this uid, as in some containers
        name = "unknown account"
    return Actor(user_id=None, name=name, source="command line", site_role=SiteRole.ADMIN)
