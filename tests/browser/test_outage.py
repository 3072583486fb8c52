"""The whole way of an outage, with real servers, the real client of OpenAI, a real agent, and a browser that watches."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

import resilience
from resilience.home import CONFIG
from tests.stand_ins import OllamaStandIn, OpenAIStandIn
from tray.app import running

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Page

CONFIGURATION = """
error_handling:
  degradation: {recover_after_s: 1}
  circuit_breaker: {services: {gpt-5.2: {timeout_seconds: 1}}}
"""


class Worker(threading.Thread):
    """An agent at work: its core loop reads a file and asks the model, again and again, until it is told to stop."""

    def __init__(self, folder: Path, model: OpenAIStandIn, local: OllamaStandIn, notes: Path) -> None:
        super().__init__(daemon=True)
        self.agent = resilience.connect("night-runner", folder=folder)
        self.client = openai.AsyncOpenAI(base_url=f"{model.url}/v1", api_key="x", max_retries=0)
        self.answers: list[str] = []
        self.core_calls = self.core_failures = 0
        self.first_failure_s = self.degraded_s = 0.0
        self.stopping = threading.Event()
        self._notes = notes
        fallback = self.agent.ollama(url=local.url).ask_async
        self._ask: Callable[..., Any] = self.agent.protect("gpt-5.2", retry="none", fallback=fallback)(self.ask_gpt)
        self._read = self.agent.protect("file_system", read_only=True)(notes.read_text)
        self._remember = self.agent.protect("memory_system")(lambda: None)
        self.agent.on_state(self._heard)

    async def ask_gpt(self, prompt: str) -> str:
        try:
            answer = await self.client.chat.completions.create(model="gpt-5.2", messages=[{"role": "user", "content": prompt}])
        except openai.OpenAIError:
            self.first_failure_s = self.first_failure_s or self.agent._clock.monotonic()
            raise
        return answer.choices[0].message.content or ""

    def _heard(self, state: Any) -> None:
        if state["level"] == "DEGRADED_LLM":
            self.degraded_s = self.degraded_s or self.agent._clock.monotonic()

    def run(self) -> None:
        asyncio.run(self._work())
        self.agent.close()

    async def _work(self) -> None:
        while not self.stopping.is_set():
            with self.agent.loop("agent_core") as loop:
                loop.beat()
                self.core_calls += 1
                try:
                    self._read()
                    self._remember()
                except Exception:
                    self.core_failures += 1
                self.answers.append(await self._ask("What now?"))
            await asyncio.sleep(0.02)
        await self.client.close()


def came(worker: Worker, answer: str, more: int = 3) -> None:
    """Waits until ``answer`` was given ``more`` times from now on."""
    begin, ticks = len(worker.answers), 0
    while worker.answers[begin:].count(answer) < more:
        worker.stopping.wait(0.02)
        ticks += 1
        assert worker.is_alive()
        assert ticks < 2000, worker.answers[-5:]


def test_the_model_dies_the_fallback_answers_core_work_goes_on_and_the_level_comes_back(
    context: BrowserContext, tmp_path: Path
) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / CONFIG).write_text(CONFIGURATION, encoding="utf-8")
    notes = tmp_path / "notes.txt"
    notes.write_text("buy milk", encoding="utf-8")
    with OpenAIStandIn() as model, OllamaStandIn("llama3.2") as local, running(folder, port=0) as winclaw:
        page = context.new_page()
        page.goto(winclaw.access.login_link())
        page.get_by_role("heading", name="Level 1 of 5 · Full").wait_for()
        worker = Worker(folder, model, local, notes)
        worker.start()
        came(worker, "An answer.")

        model.mode = "error"
        page.get_by_role("heading", name="Level 2 of 5 · Degraded LLM").wait_for()
        assert "gpt-5.2 is not answering (3 calls in a row failed); rule llm_failure." in page.inner_text("#band-cause")
        assert "A few calls to gpt-5.2 find out whether it answers again." in page.inner_text("#band-also")
        came(worker, "A local answer.")
        assert local.requests[-1][1]["options"] == {"num_ctx": 4096}
        _look(page, winclaw.url)

        model.mode = "ok"
        page.goto(winclaw.url)
        page.get_by_role("heading", name="Level 1 of 5 · Full").wait_for()
        for words in ("gpt-5.2 is open", "Full → Degraded LLM", "gpt-5.2 is closed", "Degraded LLM → Full"):
            page.locator("#feed").get_by_text(words, exact=True).first.wait_for()
        came(worker, "An answer.")
        page.close()  # before the server goes: a page that asks a server that is gone complains
        worker.stopping.set()
        worker.join(20)
    assert worker.core_failures == 0, "every core operation is served through the outage"
    assert worker.core_calls > 10
    assert set(worker.answers) == {"An answer.", "A local answer."}, "every question was answered"
    assert 0 < worker.degraded_s - worker.first_failure_s < 5


def _look(page: Page, url: str) -> None:
    """What a person sees on the other pages during the outage."""
    page.goto(f"{url}/loops")
    page.get_by_role("row", name="agent_core").get_by_text("night-runner").wait_for()
    assert page.get_by_text("not allowed").count() == 10
    page.goto(f"{url}/circuits")
    page.get_by_role("row", name="gpt-5.2").wait_for()


@pytest.mark.parametrize("mode", ["rate-limited", "refuses"])
def test_other_ways_to_die_end_alike(mode: str, tmp_path: Path) -> None:
    """Without the browser: throttled, and connections that are closed."""
    folder, notes = tmp_path / "home", tmp_path / "notes.txt"
    notes.write_text("buy milk", encoding="utf-8")
    folder.mkdir()
    (folder / CONFIG).write_text(CONFIGURATION, encoding="utf-8")
    with OpenAIStandIn() as model, OllamaStandIn("llama3.2") as local, running(folder, port=0):
        model.mode = mode
        worker = Worker(folder, model, local, notes)
        worker.start()
        came(worker, "A local answer.")
        model.mode = "ok"
        came(worker, "An answer.")
        worker.stopping.set()
        worker.join(20)
    assert (worker.core_failures, set(worker.answers)) == (0, {"An answer.", "A local answer."})
