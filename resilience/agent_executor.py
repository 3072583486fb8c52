"""The document's executor (§10.1), over the policies of ``Resilience``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from resilience.executor import Resilience
from resilience.wrapping import is_async, name_of

if TYPE_CHECKING:
    from resilience.recovery.critical import Critical

_FROM_CONTEXT: Final = ("fallback", "read_only", "timeout_s", "attempt_timeout_s", "wait_for_healing_s")


class ResilientAgentExecutor:
    """The document's executor (§10.1): one operation at a time, by a context. ``Resilience.protect`` is the same, once."""

    def __init__(self, resilience: Resilience | None = None) -> None:
        self.resilience = resilience or Resilience()

    async def execute_with_resilience(
        self, operation: Callable[..., Any], context: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """``await operation(*args, **kwargs)`` behind the policies of ``context["component"]``.

        Args:
            context: ``component`` (the service), and if wanted ``retry_strategy``, ``fallback``, ``read_only``,
                ``timeout_s``, ``attempt_timeout_s``, ``wait_for_healing_s``, ``critical``. With ``state``, a critical
                operation saves that, as the component's; ``operation_id`` is how ``recover_operation`` finds it.

        Raises:
            RefusedError: a policy did not let it happen. Whatever the operation raises in the end, as it is.
        """
        chosen = {name: context[name] for name in _FROM_CONTEXT if name in context}
        component = str(context.get("component", "unknown"))
        critical: bool | str | Collection[str] | Critical = context.get("critical", False)
        if critical and "state" in context:
            critical = self.resilience.critical((component,), lambda: context["state"], context.get("operation_id"))
        protect = self.resilience.protect(component, retry=context.get("retry_strategy"), critical=critical, **chosen)
        return await protect(_as_async(operation))(*args, **kwargs)


def _as_async(operation: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    if is_async(operation):
        return operation

    async def run(*args: Any, **kwargs: Any) -> Any:
        result = operation(*args, **kwargs)
        return await result if isawaitable(result) else result

    run.__qualname__ = name_of(operation)
    return run
