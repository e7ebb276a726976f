"""Every address of the browser side, family by family."""

from __future__ import annotations

from django.urls import include, path

handler400 = "dashboard.too_large.bad_request"

urlpatterns = [
    path("", include("dashboard.views.health")),
    path("", include("dashboard.views.live")),
    path("", include("dashboard.views.overview")),
    path("", include("dashboard.views.shell")),
    path("clusters/", include("dashboard.views.clusters")),
    path("clusters/", include("dashboard.views.inventory")),
    path("clusters/", include("dashboard.views.grants")),
    path("clusters/", include("dashboard.views.cluster_preflight")),
    path("profiles/", include("dashboard.views.profiles")),
    path("profiles/", include("dashboard.views.sharing")),
    path("install/", include("dashboard.views.install")),
    path("deployments/", include("dashboard.views.deployments")),
    path("deployments/", include("dashboard.views.changes")),
    path("deployments/", include("dashboard.views.pods")),
    path("deployments/", include("dashboard.views.logs")),
    path("gpus/", include("dashboard.views.gpus")),
    path("operations/", include("dashboard.views.operations")),
    path("approvals/", include("dashboard.views.approvals")),
    path("teams/", include("dashboard.views.teams")),
    path("users/", include("dashboard.views.users")),
    path("join/", include("dashboard.views.join")),
    path("account/", include("dashboard.views.account")),
    path("audit/", include("dashboard.views.audit")),
    path("account/", include("allauth.account.urls")),
    path("account/social/", include("allauth.socialaccount.urls")),
    path("account/oidc/", include("dashboard.oidc.views")),
    path("account/2fa/", include("allauth.mfa.urls")),
    path("account/sessions/", include("allauth.usersessions.urls")),
    path("language", include("dashboard.views.language")),
]
