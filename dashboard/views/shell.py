"""What the shell around every page posts and asks: the team, the search, the figures of the menu."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from dashboard.access import TEAM_KEY, actor
from dashboard.context import shell_values
from dashboard.presenters.parts import Hit
from dashboard.regions import page_or_region
from deployments.selectors import lookup
from deployments.selectors.search import search_everything

ICONS = {"deployment": "deployments", "profile": "profiles", "cluster": "clusters"}


@require_POST
def switch_team(request: HttpRequest) -> HttpResponse:
    """Narrow the pages to one team, or to all."""
    given = request.POST.get("team", "")
    if given.isascii() and given.isdigit() and len(given) < 18:
        request.session[TEAM_KEY] = lookup.team(actor(request), int(given)).pk
    else:
        request.session.pop(TEAM_KEY, None)
    target = request.POST.get("next", "/")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    return HttpResponseRedirect(target)


@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """Deployments, profiles and clusters by name: a list for the palette, a page without scripts."""
    query = request.GET.get("q", "").strip()[:80]
    found = search_everything(actor(request), query) if query else []
    hits = [Hit(hit.name, reverse(hit.kind, args=[hit.pk]), hit.context, ICONS[hit.kind]) for hit in found]
    values = {"q": query, "query": query, "hits": hits}
    return page_or_region(request, "search.html", "components/hits.html", values)


@require_GET
def menu(request: HttpRequest) -> HttpResponse:
    """The entries of the side with their figures, as a live region of the page at ``at``."""
    values = {"shell": shell_values(request), "at": request.GET.get("at", "")}
    return render(request, "components/menu.html", values)


urlpatterns = [
    path("menu", menu, name="menu"),
    path("team", switch_team, name="switch_team"),
    path("search", search, name="search"),
]
