"""The browser side of Pilothouse and the wiring of its processes."""

from dashboard.celery import app as celery_app

__all__ = ["celery_app"]
