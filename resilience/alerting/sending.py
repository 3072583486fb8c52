"""What every way to tell shares: how one sends, that it cannot, and where accounts and secrets are kept."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from typing import Any, Final

from resilience.alerting.alerts import Alert, Telling

Sender = Callable[[Alert, Telling], str]
"""Sends one message; returns who has accepted it, in words.

Raises UndeliverableError where trying again would change nothing; any other error passes."""
_PASSING: Final = frozenset({408, 425, 429, 20429, 20500, 20503})


class UndeliverableError(Exception):
    """A message that cannot be delivered, however often it is tried; the message says why."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows none: what is meant for one address goes to no other, and a login page's answer is none."""

    def redirect_request(self, *_: Any) -> None:
        """None: it is an error instead."""


def is_final(status: int) -> bool:
    """Whether a status of HTTP, or an error of Twilio's, says that it is no use to try again."""
    return (400 <= status < 500 or status >= 20_000) and status not in _PASSING


def resolved(reference: str) -> str:
    """The address or secret that ``reference`` names: ``env:NAME``, ``keyring:NAME``, or itself.

    Raises:
        UndeliverableError: there is none of that name.
    """
    kind, _, name = reference.partition(":")
    if kind == "env":
        found = os.environ.get(name)
    elif kind == "keyring":
        import keyring  # noqa: PLC0415 -- only who keeps secrets there pays for it

        try:
            found = keyring.get_password("winclaw", name)
        except keyring.errors.NoKeyringError as error:
            raise UndeliverableError("this system has no key store; use env:NAME instead") from error
    else:
        return reference
    if not found:
        where = "the environment" if kind == "env" else "the system's key store"
        raise UndeliverableError(f"{where} has no {name}; put the address or secret there, and start WinClaw again")
    return found
