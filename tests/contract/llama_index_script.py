"""Talks to the server with LlamaIndex's `OpenAILike` and `AzureOpenAI`, and prints what it saw as JSON.

Runs by itself in an environment of its own; BASE_URL (without /v1), KEY and MODEL come from the environment.
test_frameworks.py judges the output.
"""

import json
import os
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from llama_index.llms.azure_openai import AzureOpenAI
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel, Field

BASE_URL, KEY, MODEL = os.environ["BASE_URL"], os.environ["KEY"], os.environ["MODEL"]


class Place(BaseModel):
    """A place."""

    name: str = Field(max_length=20)
    size: int = Field(ge=0, le=9)


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"It is sunny in {city}."


def seen(llm: Any) -> dict[str, Any]:
    """Text, a stream, a call, and structured output through a call."""
    tool = FunctionTool.from_defaults(get_weather)
    asked = llm.chat_with_tools([tool], user_msg="What is the weather in Paris?", tool_required=True)
    (call,) = llm.get_tool_calls_from_response(asked)
    program = FunctionCallingProgram.from_defaults(
        Place, llm=llm, prompt_template_str="Describe {what}.", tool_required=True
    )
    return {
        "text": llm.chat([ChatMessage(role="user", content="Say hello.")]).message.content,
        "streamed": "".join(part.delta or "" for part in llm.stream_complete("Say hello.")),
        "call": {"name": call.tool_name, "args": call.tool_kwargs},
        "structured": {"function_calling": program(what="Paris").model_dump()},
    }


def main() -> None:
    """Both clients."""
    options: dict[str, Any] = {"model": MODEL, "api_key": KEY, "max_retries": 0, "max_tokens": 100, "temperature": 0}
    like = OpenAILike(api_base=f"{BASE_URL}/v1", is_chat_model=True, is_function_calling_model=True, **options)
    azure = AzureOpenAI(
        engine=MODEL, azure_endpoint=BASE_URL, api_version="2024-10-21", **{**options, "model": "gpt-4o-mini"}
    )
    print(json.dumps({"openai": seen(like), "azure": seen(azure)}))


if __name__ == "__main__":
    main()
