"""`mainspring chat` and `mainspring complete`: talk to a server that runs, over HTTP like everybody else."""

import contextlib
import importlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mainspring.cli.connect import BaseUrl, Key, connect
from mainspring.cli.output import AsJson, Home, plain, print_json, tell
from mainspring.core.errors import MainspringError, UserMistake

if TYPE_CHECKING:
    from rich.console import Console

    from mainspring.client import Client

__all__ = ["Conversation", "chat", "complete"]

HELP = """/system TEXT   set the system message (nothing: remove it) and start over
/model NAME    answer with another model (nothing: list them)
/reset         forget the conversation
/quit          leave (or Ctrl-D); Ctrl-C stops an answer"""

Model = Annotated[str | None, typer.Option("--model", "-m", help="Which model.", show_default="the first one served")]
Temperature = Annotated[float | None, typer.Option(min=0, max=2, help="0 always takes the likeliest token.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="The longest answer, in tokens.")]


class Conversation:
    """The messages so far, and what a line beginning with a slash does to them."""

    def __init__(self, model: str, system: str | None) -> None:
        self.model, self.system = model, system
        self.turns: list[dict[str, str]] = []

    @property
    def messages(self) -> list[dict[str, str]]:
        """What is sent: the system message, if there is one, and the turns."""
        return [{"role": "system", "content": self.system}, *self.turns] if self.system else self.turns

    def command(self, line: str, known_models: Iterable[str]) -> str:
        """Obey `/name argument` and say what was done. (`/quit` is the loop's.)"""
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        if name == "/reset":
            self.turns = []
            return "The conversation is forgotten."
        if name == "/system":
            self.system, self.turns = argument or None, []
            return "The system message is set." if argument else "The system message is removed."
        if name == "/model":
            return self._choose(argument, list(known_models))
        return HELP

    def _choose(self, wanted: str, known: list[str]) -> str:
        if wanted in known:
            self.model = wanted
            return f"{wanted} answers now."
        return f"Served: {', '.join(known)}. {self.model} answers."


def chat(
    message: Annotated[
        str | None, typer.Argument(help="One question; without it, and on a terminal, a conversation.")
    ] = None,
    *,
    model: Model = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system message.")] = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Talk to a model. What comes through a pipe is one question (or what the question is about)."""
    question = _piped(message)
    options = _options(temperature=temperature, max_tokens=max_tokens)
    with connect(home, base_url, key) as client:
        conversation = Conversation(model or _first_model(client), system)
        if question is None:
            _converse(client, conversation, options)
            return
        conversation.turns.append({"role": "user", "content": question})
        _print_answer(client.chat(conversation.model, conversation.messages, **options), conversation.model, as_json)


def complete(
    prompt: Annotated[str | None, typer.Argument(help="The text to continue; without it, standard input.")] = None,
    *,
    model: Model = None,
    temperature: Temperature = None,
    max_tokens: MaxTokens = None,
    base_url: BaseUrl = None,
    key: Key = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Continue a text, as it stands and without a chat template."""
    text = prompt if prompt is not None else _read_stdin()
    if not text:
        raise UserMistake("There is nothing to continue: give a prompt, or pipe one in.")
    options = _options(temperature=temperature, max_tokens=max_tokens)
    with connect(home, base_url, key) as client:
        name = model or _first_model(client)
        _print_answer(client.complete(name, text, **options), name, as_json)


def _options(**given: float | None) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _read_stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise UserMistake("What was piped in is not text: send UTF-8.") from error


def _piped(message: str | None) -> str | None:
    """The question of a run that is not a conversation, or None."""
    if sys.stdin.isatty():
        return message
    text = _read_stdin().strip()
    question = "\n\n".join(part for part in (message, text) if part)
    if not question:
        raise UserMistake("There is nothing to ask: give a message, or pipe one in.")
    return question


def _names(client: "Client") -> list[str]:
    return [str(model["id"]) for model in client.models()]


def _first_model(client: "Client") -> str:
    names = _names(client)
    if not names:
        raise UserMistake("The server serves no model: start it with `mainspring up --model NAME`.")
    return names[0]


def _print_answer(pieces: Iterable[str], model: str, as_json: bool) -> None:
    """One answer on standard output, as plain text while it comes or as one JSON document."""
    if as_json:
        print_json({"model": model, "text": "".join(pieces)})
        return
    last = "\n"
    for piece in pieces:
        if shown := plain(piece):
            sys.stdout.write(shown)
            sys.stdout.flush()
            last = shown[-1]
    if last != "\n":
        sys.stdout.write("\n")


def _converse(client: "Client", conversation: Conversation, options: dict[str, Any]) -> None:
    from rich.console import Console

    with contextlib.suppress(ImportError):
        importlib.import_module("readline")  # importing it gives input() its line editing
    console = Console()
    tell(f"{conversation.model} answers. /help says what else there is.")
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            console.print()
            return
        if line in {"/quit", "/exit"}:
            return
        if line.startswith("/"):
            tell(conversation.command(line, _names(client) if line.startswith("/model") else ()))
        elif line:
            _turn(client, conversation, line, options, console)


def _turn(client: "Client", conversation: Conversation, line: str, options: dict[str, Any], console: "Console") -> None:
    """Ask, show, remember. What was interrupted is remembered as far as it came; what failed is not."""
    conversation.turns.append({"role": "user", "content": line})
    pieces: list[str] = []
    try:
        _show_markdown(client.chat(conversation.model, conversation.messages, **options), pieces, console)
    except KeyboardInterrupt:
        tell("(stopped)")
    except MainspringError as error:
        tell(error.message)
        conversation.turns.pop()
        return
    conversation.turns.append({"role": "assistant", "content": "".join(pieces)})


def _show_markdown(answer: Iterable[str], pieces: list[str], console: "Console") -> None:
    """Draw the answer while it grows (as much as the screen holds), then leave all of it on the screen."""
    from rich.live import Live
    from rich.markdown import Markdown

    def drawn() -> Markdown:  # as often as the screen is refreshed, not for every token
        return Markdown(plain("".join(pieces)), hyperlinks=False)  # a link shows where it leads

    try:
        with Live(get_renderable=drawn, console=console, refresh_per_second=10, transient=True):
            pieces.extend(answer)
    finally:
        console.print(drawn())
