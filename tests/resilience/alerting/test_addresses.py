"""Channels are asked whether they can be used at all before they are in force; nothing is sent, and no network asked."""

from __future__ import annotations

import pytest

from resilience.alerting.addresses import require_understood
from resilience.alerting.channels import Channels, EmailChannel, OtherChannel, WebhookChannel

NONE = Channels()
NONSENSE = "nosuchservice://hunter2@somewhere"


def other(url: str, **more: object) -> Channels:
    return Channels(others={"phone": OtherChannel(url=url, **more)})  # type: ignore[arg-type]


def test_an_address_that_cannot_be_understood_is_named_but_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINCLAW_TEST_ADDRESS", NONSENSE)
    with pytest.raises(ValueError, match=r"does not understand alerting\.channels\.others\.phone\.url") as raised:
        require_understood(other("env:WINCLAW_TEST_ADDRESS"), NONE)
    assert "hunter2" not in str(raised.value)
    with pytest.raises(ValueError, match=r"email\.url"):
        require_understood(Channels(email=EmailChannel(enabled=True, recipients=("a@b.example",), url=NONSENSE)), NONE)
    with pytest.raises(ValueError, match=r"webhook\.url does not begin with http"):
        require_understood(Channels(webhook=WebhookChannel(enabled=True, url="ftp://a.example")), NONE)


@pytest.mark.parametrize(
    "wanted",
    [
        NONE, other("env:WINCLAW_TEST_NO_SUCH_NAME"), other("keyring:phone"), other(NONSENSE, enabled=False), other("json://localhost/x"),
        Channels(webhook=WebhookChannel(enabled=True, url="https://a.example/x")),
        Channels(email=EmailChannel(enabled=True, recipients=("a@b.example",))),
        Channels(email=EmailChannel(enabled=True, recipients=("a@b.example",), url="mailtos://smtp.example?from=c@d.example")),
    ],
)  # fmt: skip
def test_what_is_off_or_cannot_be_known_here_is_no_reason_to_refuse(wanted: Channels) -> None:
    """A name that the environment will have is the next start's business; and a key store may ask a person."""
    require_understood(wanted, NONE)


def test_what_was_in_force_already_is_not_asked_again() -> None:
    """Else whoever has lived with a channel that does not work could not change anything else any more."""
    require_understood(other(NONSENSE), other(NONSENSE))
    with pytest.raises(ValueError, match="phone"):
        require_understood(other(NONSENSE), other("json://localhost/x"))
