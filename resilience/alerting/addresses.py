"""Whether the ways to tell can be used at all, as far as that shows without a network: asked before they are in force."""

from __future__ import annotations

import os
from typing import Final

from resilience.alerting.by_apprise import ByApprise
from resilience.alerting.channels import Channels
from resilience.alerting.senders import Webhook, senders
from resilience.alerting.sending import UndeliverableError
from resilience.clock import SystemClock

_ENVIRONMENT: Final = "env:"
_KEY_STORE: Final = "keyring:"


def require_understood(wanted: Channels, before: Channels) -> None:
    """Looks at the address of each channel that is on, and is another one than before.

    Of a reference that leads nowhere yet nothing is known, and a key store is not asked, for it may ask a person; what is wrong
    there is told when something is sent.

    Raises:
        ValueError: an address cannot be understood; the message says which, and not what it is.
    """
    channels, known = wanted.by_name, before.by_name
    for name, sender in senders(SystemClock(), wanted):
        if isinstance(sender, (ByApprise, Webhook)) and channels[name] != known.get(name) and _is_at_hand(channels[name]):
            try:
                sender.check()
            except UndeliverableError as error:
                raise ValueError(str(error)) from error


def _is_at_hand(channel: object) -> bool:
    """Whether the address can be had here and now."""
    url = getattr(channel, "url", None)
    if url is None or url.startswith(_KEY_STORE):
        return False
    return not url.startswith(_ENVIRONMENT) or bool(os.environ.get(url.removeprefix(_ENVIRONMENT)))
