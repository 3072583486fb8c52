"""What can be set of alerts (§8): what presses how much, who is told of it, how often, when not, and what if nobody reacts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from resilience.alerting.alerts import AlertChannel, AlertPriority
from resilience.alerting.channels import Channels, PriorityName, Span, Url, quiet_for
from resilience.config.sections import Section, means
from resilience.context import ErrorSeverity
from resilience.events import Name, Text

ALL: Final = "all"
"""In a route: every channel that is on."""
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
ChannelNames = tuple[str, ...]
_EVERYWHERE: Final = (AlertChannel.LOG.value, AlertChannel.DASHBOARD.value)


class Priorities(Section, frozen=True, kw_only=True):
    """How much what is so severe presses (§8.2)."""

    DEBUG: Annotated[PriorityName, means("what DEBUG is")] = "P5_INFO"
    INFO: Annotated[PriorityName, means("what INFO is")] = "P5_INFO"
    WARNING: Annotated[PriorityName, means("what WARNING is")] = "P4_LOW"
    ERROR: Annotated[PriorityName, means("what ERROR is")] = "P3_MEDIUM"
    CRITICAL: Annotated[PriorityName, means("what CRITICAL is")] = "P2_HIGH"
    FATAL: Annotated[PriorityName, means("what FATAL is")] = "P1_CRITICAL"


class Routes(Section, frozen=True, kw_only=True):
    """Which channels tell of what presses so (§8.1, §8.2); ``all``: every one that is on."""

    P1_CRITICAL: Annotated[ChannelNames, means("who tells of P1")] = (ALL,)
    P2_HIGH: Annotated[ChannelNames, means("who tells of P2")] = (*_EVERYWHERE, "toast", "email", "sms", "webhook")
    P3_MEDIUM: Annotated[ChannelNames, means("who tells of P3")] = (*_EVERYWHERE, "email", "webhook")
    P4_LOW: Annotated[ChannelNames, means("who tells of P4")] = _EVERYWHERE
    P5_INFO: Annotated[ChannelNames, means("who tells of P5")] = ("log",)


class Escalation(Section, frozen=True, kw_only=True):
    """What happens where nobody acknowledges (§8.1)."""

    after_s: Annotated[float, means("how long each is waited for", "s", ge=30, le=86_400)] = 900.0
    from_priority: Annotated[PriorityName, means("what presses so much, or more, is told on")] = "P2_HIGH"
    channels: Annotated[
        ChannelNames, means("who is told then, one after the other: those that are on and have not told of it; then the last")
    ] = ("sms", "webhook", "twilio_voice")


class Maintenance(Section, frozen=True, kw_only=True):
    """A time in which nobody is told of some components; what is FATAL is told all the same, and at the end what still lasts."""

    name: Annotated[Text, means("what it is, for people")] = "maintenance"
    components: Annotated[tuple[Name, ...], means("of which; none: of all")] = ()
    days: Annotated[tuple[Day, ...], means("on which days of the week it begins; none: on every day")] = ()
    hours: Annotated[Span | None, means("at which time of day, e.g. `02:00-04:00`")] = None
    starts: Annotated[Text | None, means("or once: from when, e.g. `2026-12-24T18:00`")] = None
    ends: Annotated[Text | None, means("till when")] = None

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.hours is None and (self.starts is None or self.ends is None):
            yield "", "it would never end; give it hours, or starts and ends"
        elif (self.starts is None) != (self.ends is None):
            yield "", "starts and ends go together"
        if self.days and self.hours is None:
            yield "days", "give it hours, too: on which days those begin is what days says"
        if self.hours is not None and self.hours.partition("-")[0] == self.hours.partition("-")[2]:
            yield "hours", f"{self.hours} is no time at all; for whole days write 00:00-23:59"
        starts, ends = (_moment(one) if one is not None else None for one in (self.starts, self.ends))
        if starts is not None and ends is not None and ends <= starts:
            yield "ends", "it ends before it starts"
        for key in ("starts", "ends"):
            if (text := getattr(self, key)) is not None and _moment(text) is None:
                yield key, f"{text!r} is no time; write it as 2026-12-24T18:00, by this machine's clock"

    def covers(self, component: str, now: datetime) -> bool:
        """Whether it is on for ``component`` at ``now``, in the time zone of this machine."""
        if self.components and component not in self.components:
            return False
        if self.starts is not None and self.ends is not None:
            starts, ends = _moment(self.starts), _moment(self.ends)
            if starts is None or ends is None or not starts <= now.replace(tzinfo=None) < ends:
                return False
        if self.hours is None:
            return True
        if quiet_for(self.hours, now) is None:
            return False
        begins = self.hours.partition("-")[0]
        began = now if f"{now:%H:%M}" >= begins else now - timedelta(days=1)
        return not self.days or _DAYS[began.weekday()] in self.days


class Ping(Section, frozen=True, kw_only=True):
    """A sign of life to somebody outside, who notices when it stays away."""

    url: Url = None
    every_s: Annotated[float, means("how often", "s", ge=10, le=86_400)] = 60.0


class Alerting(Section, frozen=True, kw_only=True):
    """Who is told, and how (§8)."""

    enabled: Annotated[bool, means("whether anybody is told")] = True
    rate_limit_window: Annotated[float, means("time in which alerts of a kind count", "s", ge=1, le=86_400)] = 300.0
    max_alerts_per_window: Annotated[
        int, means("alerts of a kind in that time; a summary of the rest follows", ge=1, le=100)
    ] = 5
    max_messages_per_window: Annotated[
        int, means("messages of a channel in that time, of all kinds; a digest of the rest follows", ge=1, le=10_000)
    ] = 20
    resolve_after_s: Annotated[
        float, means("how long an error must not come again before its alert is resolved", "s", ge=60, le=604_800)
    ] = 900.0
    wait_for_parent_s: Annotated[
        float, means("how long is waited whether what something depends on is down, too", "s", ge=0, le=20)
    ] = 10.0
    priorities: Priorities = Priorities()
    routes: Routes = Routes()
    escalation: Escalation = Escalation()
    maintenance: Annotated[tuple[Maintenance, ...], means("times in which nobody is told")] = ()
    ping: Ping = Ping()
    channels: Annotated[Channels, means("the ways to tell")] = Channels()

    def contradictions(self) -> Iterator[tuple[str, str]]:
        known = self.channels.by_name
        named = [(f"routes.{one.name}", getattr(self.routes, one.name)) for one in AlertPriority]
        for key, names in (*named, ("escalation.channels", self.escalation.channels)):
            for name in names:
                if name not in known and not (name == ALL and key.startswith("routes")):
                    yield key, f"there is no channel {name!r}; there are {', '.join(known)}"

    def priority_of(self, severity: ErrorSeverity) -> AlertPriority:
        """How much something so severe presses."""
        return AlertPriority[getattr(self.priorities, severity.name)]

    def tells_by(self, channel: str) -> bool:
        """Whether anybody is told by ``channel``."""
        found = self.channels.by_name.get(channel)
        return self.enabled and found is not None and found.enabled

    def told_of(self, priority: AlertPriority) -> Sequence[str]:
        """The channels that tell of what presses so."""
        route = getattr(self.routes, priority.name)
        heard = {name: one.hears(priority) for name, one in self.channels.by_name.items() if self.enabled and one.enabled}
        return [name for name, hears in heard.items() if (hears if hears is not None else ALL in route or name in route)]

    def is_worth(self, severity: ErrorSeverity) -> bool:
        """Whether an error so severe is worth an alert: where it is told beyond log and page, and always from ERROR on."""
        from_error_on = severity.value >= ErrorSeverity.ERROR.value
        return from_error_on or not set(self.told_of(self.priority_of(severity))) <= set(_EVERYWHERE)

    def maintained(self, component: str, now: datetime) -> Maintenance | None:
        """The maintenance that is on for ``component`` at ``now``, in the time zone of this machine; None: there is none."""
        return next((one for one in self.maintenance if one.covers(component, now)), None)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone().replace(tzinfo=None) if moment.tzinfo is not None else moment

