"""Signing in by OpenID Connect: what allauth leaves out of it, and what claims mean here."""
