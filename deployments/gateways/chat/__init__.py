"""The chat gateway: NextChat's page through the API server, conversations straight to Ollama."""

from __future__ import annotations

from deployments.gateways.chat.gateway import MAX_QUESTION, ChatGateway
from deployments.gateways.chat.headers import common
from deployments.gateways.chat.proof import ChatProof, Reading, ask_one_token, events, prove_chat, question
from deployments.gateways.chat.target import ChatAnswer, ChatRequest, ChatTarget

__all__ = [
    "MAX_QUESTION",
    "ChatAnswer",
    "ChatGateway",
    "ChatProof",
    "ChatRequest",
    "ChatTarget",
    "Reading",
    "ask_one_token",
    "common",
    "events",
    "prove_chat",
    "question",
]
