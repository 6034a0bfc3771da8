"""Talks to the server with the `openai` package of whatever interpreter runs this, and prints what it saw as JSON.

Runs by itself under an environment with an older major of the package: imports nothing of ours, and nothing that the
1.x series lacks. BASE_URL (without /v1), KEY and MODEL come from the environment. test_older_sdk.py judges the output.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import openai
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

BASE_URL, KEY, MODEL = os.environ["BASE_URL"], os.environ["KEY"], os.environ["MODEL"]
STRICT: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "_strict_response_validation": True}
PLAIN = {**STRICT, "_strict_response_validation": False}  # strict, it does not take Azure's own first chunk
AZURE: dict[str, Any] = {**PLAIN, "azure_endpoint": BASE_URL, "api_version": "2024-10-21"}
ASK: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
STREAM: dict[str, Any] = {**ASK, "stream": True, "stream_options": {"include_usage": True}}


def seen(client: Any) -> dict[str, Any]:
    """One whole answer and one stream."""
    whole = client.chat.completions.create(**ASK)
    chunks = [chunk.to_dict() for chunk in client.chat.completions.create(**STREAM) if chunk.id]
    return {"whole": whole.to_dict(), "chunks": chunks}


async def seen_async(client: Any) -> dict[str, Any]:
    """The same with an asynchronous client."""
    async with client:
        whole = await client.chat.completions.create(**ASK)
        stream = await client.chat.completions.create(**STREAM)
        return {"whole": whole.to_dict(), "chunks": [chunk.to_dict() async for chunk in stream if chunk.id]}


def failure(act: Callable[[], object]) -> dict[str, Any]:
    """Class, status and body of the error that `act` raises."""
    try:
        act()
    except openai.APIStatusError as error:
        return {"kind": type(error).__name__, "status": error.status_code, "body": error.body}
    return {"kind": None}


def main() -> None:
    """Run every case."""
    client, azure = OpenAI(base_url=f"{BASE_URL}/v1", **STRICT), AzureOpenAI(**AZURE)
    stranger = OpenAI(base_url=f"{BASE_URL}/v1", **{**STRICT, "api_key": "wrong"})
    unknown = {**ASK, "model": "no-such-model"}
    result = {
        "version": openai.__version__,
        "openai": seen(client),
        "azure": seen(azure),
        "azure_v1": seen(OpenAI(base_url=f"{BASE_URL}/openai/v1/", **PLAIN)),
        "openai_async": asyncio.run(seen_async(AsyncOpenAI(base_url=f"{BASE_URL}/v1", **STRICT))),
        "azure_async": asyncio.run(seen_async(AsyncAzureOpenAI(**AZURE))),
        "models": [model.to_dict() for model in client.models.list()],
        "model": client.models.retrieve(MODEL).to_dict(),
        "errors": {
            "wrong_key": failure(lambda: stranger.models.list()),
            "no_model": failure(lambda: client.chat.completions.create(**unknown)),
            "no_deployment": failure(lambda: azure.chat.completions.create(**unknown)),
            "bad_value": failure(lambda: client.chat.completions.create(**ASK, temperature=9)),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
