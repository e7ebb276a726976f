"""Indexes of observed objects that were written with every row and never read."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("deployments", "0016_reader_language")]

    operations = [
        migrations.AlterField(
            model_name="observedobject",
            name="cluster",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="observed",
                to="deployments.cluster",
            ),
        ),
        migrations.AlterField(
            model_name="observedobject",
            name="deployment",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="observed",
                to="deployments.deployment",
            ),
        ),
    ]
