"""What users test their agents with: time that moves when told to, retries that do not wait, faults on order."""

from resilience.testing.clock import FakeClock, immediate_retries, settle
from resilience.testing.faults import Faults
from resilience.testing.outcomes import Answer, Fail, Hang, Slow, TimeOut

__all__ = ["Answer", "Fail", "FakeClock", "Faults", "Hang", "Slow", "TimeOut", "immediate_retries", "settle"]
