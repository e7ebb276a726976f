"""Addresses count from now on where somebody vouched for them.

Those of accounts that never opened the page of addresses came from an invitation or the identity provider,
and count. Others have rows of allauth's already, which say whether they were confirmed.
"""

from django.db import migrations


def vouch(apps, schema_editor):
    user_model = apps.get_model("deployments", "User")
    address_model = apps.get_model("account", "EmailAddress")
    taken = {email.lower() for email in address_model.objects.values_list("email", flat=True)}
    known = set(address_model.objects.values_list("user_id", flat=True))
    for user in user_model.objects.exclude(email="").exclude(pk__in=known).order_by("pk"):
        email = user.email.lower()
        if email not in taken:
            taken.add(email)
            address_model.objects.create(user=user, email=email, verified=True, primary=True)


class Migration(migrations.Migration):
    dependencies = [
        ("account", "0009_emailaddress_unique_primary_email"),
        ("deployments", "0013_approvals"),
    ]

    operations = [migrations.RunPython(vouch, migrations.RunPython.noop)]
