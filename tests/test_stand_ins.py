"""The stand-ins are what they stand in for, as far as the real clients can tell."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.stand_ins import OpenAIStandIn


def test_the_real_client_of_openai_talks_to_the_stand_in() -> None:
    """So that what is tested with it is tested with the real thing."""
    with OpenAIStandIn() as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
        messages: Any = [{"role": "user", "content": "Why?"}]
        assert client.chat.completions.create(model="gpt-5.2", messages=messages).choices[0].message.content == "An answer."
        stream = client.chat.completions.create(model="gpt-5.2", messages=messages, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "An answer."
        for mode, error in (("error", openai.InternalServerError), ("rate-limited", openai.RateLimitError), ("refuses", openai.APIConnectionError)):
            server.mode = mode
            with pytest.raises(error):
                client.chat.completions.create(model="gpt-5.2", messages=messages)
        client.close()
