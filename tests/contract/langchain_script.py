"""Talks to the server with LangChain's `ChatOpenAI` and `AzureChatOpenAI`, and prints what it saw as JSON.

Runs by itself in an environment of its own; BASE_URL (without /v1), KEY and MODEL come from the environment.
test_frameworks.py judges the output.
"""

import json
import os
from typing import Any

import langchain_openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from pydantic import BaseModel, Field

BASE_URL, KEY, MODEL = os.environ["BASE_URL"], os.environ["KEY"], os.environ["MODEL"]


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"It is sunny in {city}."


class Place(BaseModel):
    """A place."""

    name: str = Field(max_length=20)
    size: int = Field(ge=0, le=9)


def seen(chat: Any) -> dict[str, Any]:
    """Text, a stream, a call with its result, and structured output by each of LangChain's methods."""
    ask = HumanMessage("What is the weather in Paris?")
    asked = chat.bind_tools([get_weather], tool_choice="get_weather").invoke([ask])
    (call,) = asked.tool_calls
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    folded = None
    for chunk in chat.bind_tools([get_weather], tool_choice="required", parallel_tool_calls=False).stream([ask]):
        folded = chunk if folded is None else folded + chunk
    return {
        "text": chat.invoke("Say hello.").content,
        "streamed": "".join(chunk.content for chunk in chat.stream("Say hello.")),
        "call": call,
        "streamed_calls": folded.tool_calls if folded else None,
        "answer": chat.invoke([ask, asked, result]).content,
        "structured": {
            method: chat.with_structured_output(Place, method=method).invoke("Describe Paris.").model_dump()
            for method in ("function_calling", "json_schema")
        },
    }


def main() -> None:
    """Both clients."""
    options: dict[str, Any] = {"model": MODEL, "api_key": KEY, "max_retries": 0, "max_tokens": 100, "temperature": 0}
    azure = {"azure_endpoint": BASE_URL, "azure_deployment": MODEL, "api_version": "2024-10-21"}
    result = {
        "version": langchain_openai.__version__ if hasattr(langchain_openai, "__version__") else "",
        "openai": seen(ChatOpenAI(base_url=f"{BASE_URL}/v1", **options)),
        "azure": seen(AzureChatOpenAI(**options, **azure)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
