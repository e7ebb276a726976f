"""What audited acts are called in a feed: an icon, what was done, and what was refused or failed."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy

from dashboard.presenters.states import Words

# action -> (icon, what was done, what was refused)
ACTS: Mapping[str, tuple[str, Words, Words]] = {
    "deployment.install": ("deployments", gettext_lazy("began to install"), gettext_lazy("install")),
    "deployment.upgrade": ("deployments", gettext_lazy("began to upgrade"), gettext_lazy("upgrade")),
    "deployment.uninstall": ("x", gettext_lazy("began to uninstall"), gettext_lazy("uninstall")),
    "deployment.uninstall_with_data": (
        "x",
        gettext_lazy("began to uninstall, with the model data,"),
        gettext_lazy("uninstall with the model data"),
    ),
    "deployment.force_conflicts": (
        "deployments",
        gettext_lazy("took fields of others in"),
        gettext_lazy("take fields of others in"),
    ),
    "deployment.scale": ("up-down", gettext_lazy("began to scale"), gettext_lazy("scale")),
    "deployment.restart": ("again", gettext_lazy("began to restart"), gettext_lazy("restart")),
    "deployment.roll_back": ("again", gettext_lazy("began to roll back"), gettext_lazy("roll back")),
    "model.delete": (
        "x",
        gettext_lazy("began to delete a model from"),
        gettext_lazy("delete a model from"),
    ),
    "model.pull": ("pull", gettext_lazy("began to pull a model for"), gettext_lazy("pull a model for")),
    "operation.cancel": ("stop", gettext_lazy("cancelled"), gettext_lazy("cancel")),
    "operation.retry": ("again", gettext_lazy("began again"), gettext_lazy("begin again")),
    "check.run": ("chat", gettext_lazy("began to check"), gettext_lazy("check")),
    "cluster.connect": ("clusters", gettext_lazy("connected"), gettext_lazy("connect")),
    "cluster.grant": ("clusters", gettext_lazy("granted"), gettext_lazy("grant")),
    "cluster.revoke": ("clusters", gettext_lazy("took back"), gettext_lazy("take back")),
    "cluster.manage": ("clusters", gettext_lazy("changed"), gettext_lazy("change")),
    "cluster.remove": ("clusters", gettext_lazy("removed"), gettext_lazy("remove")),
    "cluster.replace_credential": (
        "lock",
        gettext_lazy("replaced the credential of"),
        gettext_lazy("replace the credential of"),
    ),
    "profile.create": ("profiles", gettext_lazy("made the profile"), gettext_lazy("make a profile")),
    "profile.save": ("profiles", gettext_lazy("saved the profile"), gettext_lazy("save the profile")),
    "profile.write": ("profiles", gettext_lazy("saved the profile"), gettext_lazy("save the profile")),
    "profile.rename": ("profiles", gettext_lazy("renamed"), gettext_lazy("rename")),
    "profile.archive": ("profiles", gettext_lazy("archived"), gettext_lazy("archive")),
    "user.create": ("user", gettext_lazy("made the account"), gettext_lazy("make an account")),
    "approval.ask": (
        "approvals",
        gettext_lazy("asked for a yes to"),
        gettext_lazy("ask for a yes to"),
    ),
    "approval.expire": (
        "approvals",
        gettext_lazy("got no answer in time to"),
        gettext_lazy("get an answer in time to"),
    ),
    "operation.approve": (
        "approvals",
        gettext_lazy("agreed to"),
        gettext_lazy("agree to"),
    ),
    "operation.refuse": (
        "approvals",
        gettext_lazy("refused"),
        gettext_lazy("refuse"),
    ),
    "audit.checkpoint": (
        "audit",
        gettext_lazy("signed a checkpoint of"),
        gettext_lazy("sign a checkpoint of"),
    ),
    "audit.export": (
        "audit",
        gettext_lazy("exported"),
        gettext_lazy("export"),
    ),
    "audit.prune": (
        "audit",
        gettext_lazy("deleted old entries of"),
        gettext_lazy("delete old entries of"),
    ),
    "audit.retention": (
        "audit",
        gettext_lazy("changed how long entries are kept in"),
        gettext_lazy("change how long entries are kept in"),
    ),
    "audit.verify": (
        "audit",
        gettext_lazy("verified"),
        gettext_lazy("verify"),
    ),
    "cluster.change_grant": (
        "clusters",
        gettext_lazy("changed a grant of"),
        gettext_lazy("change a grant of"),
    ),
    "cluster.require_reasons": (
        "clusters",
        gettext_lazy("changed whether reasons are asked for on"),
        gettext_lazy("change whether reasons are asked for on"),
    ),
    "keys.rotate": (
        "lock",
        gettext_lazy("rotated the keys of"),
        gettext_lazy("rotate the keys of"),
    ),
    "log.download": (
        "pull",
        gettext_lazy("downloaded a log of"),
        gettext_lazy("download a log of"),
    ),
    "profile.apply_to_many": (
        "profiles",
        gettext_lazy("brought several deployments to"),
        gettext_lazy("bring several deployments to"),
    ),
    "profile.share": (
        "share",
        gettext_lazy("shared"),
        gettext_lazy("share"),
    ),
    "profile.share_for_editing": (
        "share",
        gettext_lazy("shared for editing"),
        gettext_lazy("share for editing"),
    ),
    "profile.withdraw_share": (
        "share",
        gettext_lazy("ended a sharing of"),
        gettext_lazy("end a sharing of"),
    ),
    "profile.ask_for_catalog": (
        "profiles",
        gettext_lazy("asked for a place in the catalog for"),
        gettext_lazy("ask for a place in the catalog for"),
    ),
    "profile.publish": (
        "profiles",
        gettext_lazy("put into the catalog"),
        gettext_lazy("put into the catalog"),
    ),
    "profile.withdraw_from_catalog": (
        "profiles",
        gettext_lazy("took out of the catalog"),
        gettext_lazy("take out of the catalog"),
    ),
    "profile.refuse_for_catalog": (
        "profiles",
        gettext_lazy("kept out of the catalog"),
        gettext_lazy("keep out of the catalog"),
    ),
    "team.create": (
        "teams",
        gettext_lazy("made the team"),
        gettext_lazy("make the team"),
    ),
    "team.rename": (
        "teams",
        gettext_lazy("renamed the team"),
        gettext_lazy("rename the team"),
    ),
    "team.manage": (
        "teams",
        gettext_lazy("changed the team"),
        gettext_lazy("change the team"),
    ),
    "team.invite": (
        "teams",
        gettext_lazy("invited somebody to"),
        gettext_lazy("invite somebody to"),
    ),
    "team.join": (
        "teams",
        gettext_lazy("joined"),
        gettext_lazy("join"),
    ),
    "team.leave": (
        "teams",
        gettext_lazy("left"),
        gettext_lazy("leave"),
    ),
    "team.add_member": (
        "teams",
        gettext_lazy("added a member to"),
        gettext_lazy("add a member to"),
    ),
    "team.remove_member": (
        "teams",
        gettext_lazy("took a member out of"),
        gettext_lazy("take a member out of"),
    ),
    "team.change_role": (
        "teams",
        gettext_lazy("changed a role in"),
        gettext_lazy("change a role in"),
    ),
    "invitation.revoke": (
        "teams",
        gettext_lazy("took back an invitation to"),
        gettext_lazy("take back an invitation to"),
    ),
    "user.invite": (
        "user",
        gettext_lazy("invited"),
        gettext_lazy("invite"),
    ),
    "user.manage": (
        "user",
        gettext_lazy("changed the account"),
        gettext_lazy("change the account"),
    ),
    "user.disable": (
        "user",
        gettext_lazy("disabled"),
        gettext_lazy("disable"),
    ),
    "user.enable": (
        "user",
        gettext_lazy("enabled"),
        gettext_lazy("enable"),
    ),
    "user.set_site_role": (
        "user",
        gettext_lazy("changed the site role of"),
        gettext_lazy("change the site role of"),
    ),
    "user.allow_new_password": (
        "user",
        gettext_lazy("allowed a new password for"),
        gettext_lazy("allow a new password for"),
    ),
    "user.apply_claims": (
        "user",
        gettext_lazy("applied the identity provider's groups to"),
        gettext_lazy("apply the identity provider's groups to"),
    ),
    "user.confirm_address": (
        "user",
        gettext_lazy("confirmed the address of"),
        gettext_lazy("confirm the address of"),
    ),
    "user.set_address": (
        "user",
        gettext_lazy("changed the address of"),
        gettext_lazy("change the address of"),
    ),
    "user.lose_address": (
        "user",
        gettext_lazy("freed an unconfirmed address from"),
        gettext_lazy("free an unconfirmed address from"),
    ),
}


# The end of an operation -> (icon, what was done, what failed)
ENDS: Mapping[str, tuple[str, Words, Words]] = {
    "install": ("deployments", gettext_lazy("installed"), gettext_lazy("install")),
    "upgrade": ("deployments", gettext_lazy("upgraded"), gettext_lazy("upgrade")),
    "uninstall": ("x", gettext_lazy("uninstalled"), gettext_lazy("uninstall")),
    "scale": ("up-down", gettext_lazy("scaled"), gettext_lazy("scale")),
    "restart": ("again", gettext_lazy("restarted"), gettext_lazy("restart")),
    "roll_back": ("again", gettext_lazy("rolled back"), gettext_lazy("roll back")),
    "delete_model": (
        "x",
        gettext_lazy("deleted a model from"),
        gettext_lazy("delete a model from"),
    ),
    "pull": ("pull", gettext_lazy("pulled a model for"), gettext_lazy("pull a model for")),
    "check_chat": ("chat", gettext_lazy("got an answer from"), gettext_lazy("get an answer from")),
}
ALL = {**ACTS, **{f"operation.{kind}": words for kind, words in ENDS.items()}}
