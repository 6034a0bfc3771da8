"""The wrappers around `Generate`, each over a scripted engine."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mainspring.core import errors
from mainspring.core.types import (
    ChatPrompt,
    Event,
    Finished,
    GenerateRequest,
    Message,
    Screened,
    Spilled,
    TextPrompt,
    Token,
    TokenPrompt,
    ToolCallDelta,
    Usage,
)
from mainspring.governance import screening
from mainspring.governance.directory import Target
from mainspring.governance.filters.fold import fold
from mainspring.governance.filters.hold import Hold
from mainspring.governance.filters.personal import GIVEN_UP, Found, PersonalData
from mainspring.governance.screening import Screening
from mainspring.governance.spill import spilling
from mainspring.governance.stack import routing
from mainspring.governance.wanted import Blocklist, BlocklistItem, Deployment, Policy, Snapshot

USAGE = Usage(7, 3)


def ask(model: str = "main", **fields) -> GenerateRequest:
    return GenerateRequest(id="r", **{"model": model, "prompt": TextPrompt("hello"), **fields})


def deployed(project: str, name: str) -> Target:
    deployment = Deployment(
        project=project, name=name, model="m", version="1", sku="ProvisionedManaged",
        spillover="spare" if name == "main" else "", policy="p",
    )  # fmt: skip
    return Target(project, name, deployment.served_as, "p", deployment.limits, deployment)


class Script:
    """An engine that says the same to everybody, or fails; it keeps what it was asked, and whether it was left."""

    def __init__(self, *events: Event, fails: dict[str, Exception] | None = None, after: int = 0) -> None:
        self.events, self.fails, self.after = events, fails or {}, after
        self.asked: list[GenerateRequest] = []
        self.told = 0
        self.left = False

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        self.asked.append(request)
        try:
            for number, event in enumerate(self.events):
                if number == self.after and request.model in self.fails:
                    raise self.fails[request.model]
                self.told += 1
                yield event
        finally:
            self.left = True


async def heard(events: AsyncGenerator[Event]) -> list[Event]:
    return [event async for event in events]


async def test_a_deployment_s_name_leads_to_its_model() -> None:
    script = Script(Finished(0, "stop", USAGE))
    await heard(routing(script.generate, deployed)(ask()))
    assert script.asked[0].model == "m@1"


@pytest.mark.parametrize(
    ("error", "spills"),
    [
        (errors.RateLimited("full"), True),
        (errors.Overloaded("full"), True),
        (errors.Unavailable("gone"), True),
        (errors.MainspringError("broken"), True),
        (errors.ContextLengthExceeded("long"), True),
        (errors.InvalidRequest("wrong"), False),
        (errors.ContentFiltered("no"), False),
        (errors.BudgetSpent("spent"), False),
        (errors.DeadlineExceeded("late"), False),
        (errors.ModelNotFound("none"), False),
    ],
)
async def test_what_a_deployment_cannot_take_goes_to_another(error: errors.MainspringError, spills: bool) -> None:
    script = Script(Token(0, "hi"), Finished(0, "stop", USAGE), fails={"main": error})
    run = spilling(script.generate, deployed)
    if not spills:
        with pytest.raises(type(error)):
            await heard(run(ask()))
        return
    first, *rest = await heard(run(ask()))
    assert first == Spilled("main", "spare", error.status)
    assert rest == [Token(0, "hi"), Finished(0, "stop", USAGE)]
    assert [request.model for request in script.asked] == ["main", "spare"]
    assert script.asked[0].id != script.asked[1].id, "the ledger has a row for each"


async def test_nothing_spills_once_something_was_said_or_without_a_spare_one() -> None:
    broken = Script(Token(0, "hi"), Token(0, "!"), fails={"main": errors.Unavailable("gone")}, after=1)
    with pytest.raises(errors.Unavailable):
        await heard(spilling(broken.generate, deployed)(ask()))
    full = Script(Token(0, "hi"), fails={"spare": errors.Overloaded("full")})
    with pytest.raises(errors.Overloaded):
        await heard(spilling(full.generate, deployed)(ask("spare")))
    assert len(full.asked) == 1


async def test_a_client_names_its_own_spare_one_or_none() -> None:
    script = Script(Finished(0, "stop", USAGE), fails={"other": errors.Overloaded("full")})
    first, *_ = await heard(spilling(script.generate, deployed)(ask("other", spillover="third")))
    assert first == Spilled("other", "third", 429)
    full = Script(Finished(0, "stop", USAGE), fails={"main": errors.Overloaded("full")})
    with pytest.raises(errors.Overloaded):
        await heard(spilling(full.generate, deployed)(ask(spillover="")))


def screened(script: Script, items: Sequence[str], *, where: str = "completion", **properties):
    """The script behind a policy whose blocklist has these terms."""
    given = {f"{where}Blocklists": [{"blocklistName": "b", "blocking": True}], "mode": "Blocking", **properties}
    snapshot = Snapshot(
        revision=1,
        policies={("default", "p"): Policy(project="default", name="p", properties=given)},
        blocklists={("default", "b"): Blocklist(project="default", name="b")},
        items={
            ("default", "b"): tuple(
                BlocklistItem(project="default", blocklist="b", name=f"i{number}", pattern=item)
                for number, item in enumerate(items)
            )
        },
    )
    return Screening(deployed, lambda: snapshot, default="").generate(script.generate)


WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "black", "white", "redder", "bluish", "so", "and"]),
    min_size=1,
    max_size=30,
)


@given(WORDS, st.lists(st.sampled_from(["red green", "blue", "and so", "white and"]), max_size=3), st.data())
@settings(max_examples=150, deadline=None)
async def test_no_prefix_of_what_is_said_holds_a_blocked_term(words: list[str], terms: list[str], data) -> None:
    text, pieces = " ".join(words), list[str]()
    while text:
        size = data.draw(st.integers(1, 9))
        pieces.append(text[:size])
        text = text[size:]
    script = Script(*(Token(0, piece) for piece in pieces), Finished(0, "stop", USAGE))
    said = ""
    streams, piece = data.draw(st.booleans()), data.draw(st.integers(1, 40))
    with patch.object(screening, "PIECE", piece):
        events = await heard(screened(script, terms)(ask(streams=streams)))
    for event in events:
        said += event.text if isinstance(event, Token) else ""
        padded = f" {fold(said)} "
        # A term may end the text so far only if more of its last word could still have come, and has not.
        assert not any(f" {term} " in padded for term in terms)
        last = event
    whole = "".join(pieces)
    is_blocked = any(f" {term} " in f" {whole} " for term in terms)
    assert isinstance(last, Finished)
    assert last.reason == ("content_filter" if is_blocked else "stop")
    assert whole.startswith(said)
    assert is_blocked or said == whole


async def test_a_blocked_answer_is_not_computed_to_its_end() -> None:
    script = Script(Token(0, "so "), Token(0, "blue"), Token(0, " and"), Token(0, " more"), Finished(0, "stop", USAGE))
    events = await heard(screened(script, ["blue"])(ask()))
    assert script.left
    assert script.told < 5
    assert [type(event) for event in events[-2:]] == [Screened, Finished]
    assert events[-2].blocked
    assert events[-2].results["custom_blocklists"]["filtered"]
    assert "blue" in events[-2].reasons


async def test_a_whole_answer_is_looked_at_in_pieces_and_stopped_after_one() -> None:
    words = ["so "] * 100 + ["blue "] + ["so "] * 400
    script = Script(*(Token(0, word) for word in words), Finished(0, "stop", USAGE))
    with patch.object(Hold, "feed", autospec=True, side_effect=Hold.feed) as looked:
        events = await heard(screened(script, ["blue"])(ask(streams=False)))
    assert looked.call_count == 1
    assert script.told <= 2 + screening.PIECE // 3
    assert "".join(event.text for event in events if isinstance(event, Token)) == "so " * 100
    assert events[-1].reason == "content_filter"


async def test_tool_calls_and_thoughts_are_looked_at_too() -> None:
    call = ToolCallDelta(0, 0, '{"colour": "blue', "id", "paint")
    script = Script(call, ToolCallDelta(0, 0, '"}'), Finished(0, "tool_calls", USAGE))
    events = await heard(screened(script, ["blue"])(ask()))
    assert events[-1].reason == "content_filter"
    assert not any("blue" in getattr(event, "arguments", "") for event in events)
    thought = Script(Token(0, "is it blue", thought=True), Token(0, "no"), Finished(0, "stop", USAGE))
    assert (await heard(screened(thought, ["blue"])(ask())))[-1].reason == "content_filter"


async def test_a_failure_before_anything_is_said_comes_before_what_was_found() -> None:
    script = Script(Token(0, "hi"), fails={"main": errors.Overloaded("full")})
    with pytest.raises(errors.Overloaded):
        await anext(screened(script, ["blue"], basePolicyName="Microsoft.DefaultV2")(ask()))


async def test_prompts_in_every_form_are_looked_at() -> None:
    for prompt in (
        TextPrompt("so blue"),
        ChatPrompt((Message(role="user", content="hi"), Message(role="tool", content="it is blue"))),
    ):
        script = Script(Finished(0, "stop", USAGE))
        with pytest.raises(errors.ContentFiltered) as caught:
            await heard(screened(script, ["blue"], where="prompt")(ask(prompt=prompt)))
        assert caught.value.results["custom_blocklists"]["filtered"]
        assert not script.asked


async def test_token_ids_are_said_to_have_gone_unseen() -> None:
    script = Script(Finished(0, "stop", USAGE))
    run = screened(script, ["blue"], where="prompt", basePolicyName="Microsoft.Default")
    first, *_ = await heard(run(ask(prompt=TokenPrompt((1, 2)))))
    assert first.results["error"]["code"] == "content_filter_error"


async def test_asynchronous_filters_let_text_pass_and_stop_it_after() -> None:
    script = Script(*(Token(0, word) for word in ("so ", "blue ", "and ", "more ")), Finished(0, "stop", USAGE))
    events = await heard(screened(script, ["blue"], mode="Asynchronous_filter")(ask()))
    said = "".join(event.text for event in events if isinstance(event, Token))
    assert said.startswith("so blue")
    told = [event for event in events if isinstance(event, Screened) and event.offsets]
    assert told
    assert told[-1].results["custom_blocklists"]["filtered"]
    assert events[-1] == Finished(0, "content_filter", events[-1].usage)


class Guarded(Script):
    """An engine with a guard model that says the same of everything."""

    def __init__(self, *events: Event, says: str = "safe", fails: bool = False) -> None:
        super().__init__(*events)
        self.says, self.guard_fails = says, fails
        self.judged: list[GenerateRequest] = []

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event]:
        if request.model != "llama-guard":
            async for event in super().generate(request):
                yield event
            return
        self.judged.append(request)
        if self.guard_fails:
            raise errors.Unavailable("gone")
        yield Token(0, self.says)
        yield Finished(0, "stop", USAGE)


ANSWER = (Token(0, "so "), Token(0, "be it"), Finished(0, "stop", USAGE))
GUARD = {"guardDeploymentName": "llama-guard", "basePolicyName": "Microsoft.Default"}


async def test_a_guard_model_that_finds_nothing_lets_all_pass() -> None:
    script = Guarded(*ANSWER)
    events = await heard(screened(script, [], **GUARD)(ask(tenant="k")))
    assert "".join(event.text for event in events if isinstance(event, Token)) == "so be it"
    assert events[-1] == ANSWER[-1]
    assert [request.tenant for request in script.judged] == ["k", "k"], "the prompt, and then the whole answer"


async def test_a_guard_model_blocks_prompts() -> None:
    script = Guarded(*ANSWER, says="unsafe\nS1")
    with pytest.raises(errors.ContentFiltered) as caught:
        await heard(screened(script, [], **GUARD)(ask()))
    assert caught.value.results["violence"]["filtered"]
    assert not script.asked


async def test_nothing_of_an_answer_leaves_before_its_guard_has_judged_it() -> None:
    script = Guarded(*ANSWER)
    said: list[Event] = []
    async for event in screened(script, [], **GUARD)(ask()):
        script.says = "unsafe\nS1"  # the prompt has passed
        said.append(event)
    assert not any(isinstance(event, Token) for event in said)
    assert said[-1] == Finished(0, "content_filter", USAGE)


async def test_a_guard_model_that_fails_is_said_to_have_failed() -> None:
    first, *rest = await heard(screened(Guarded(*ANSWER, fails=True), [], **GUARD)(ask()))
    assert first.results["error"]["code"] == "content_filter_error"
    assert rest[-1] == ANSWER[-1]


def looking_for_personal_data(script: Script, finder: PersonalData):
    """The script behind a policy that looks for personal data, both ways."""
    filters = [
        {"name": "Personally Identifiable Information", "source": source, "enabled": True, "blocking": True}
        for source in ("Prompt", "Completion")
    ]
    policy = Policy(project="default", name="p", properties={"contentFilters": filters, "mode": "Blocking"})
    snapshot = Snapshot(revision=1, policies={("default", "p"): policy})
    return Screening(deployed, lambda: snapshot, default="", personal=finder).generate(script.generate)


@pytest.mark.parametrize("is_slow", [True, False])
async def test_the_event_loop_does_not_wait_for_a_slow_finder(is_slow: bool) -> None:
    threads = list[str]()

    def find(text: str) -> list[Found]:
        threads.append(threading.current_thread().name.rpartition("_")[0])
        at = text.find("Anna")
        return [Found("Person", at, at + 4)] if at >= 0 else []

    finder = PersonalData(find=find, open_tail=len, is_slow=is_slow)
    script = Script(Token(0, "It is "), Token(0, "Anna"), Token(0, " here"), Finished(0, "stop", USAGE))
    *said, last = await heard(looking_for_personal_data(script, finder)(ask(streams=True)))
    assert [event.text for event in said if isinstance(event, Token)] == ["It is "]
    assert isinstance(last, Finished)
    assert last.reason == "content_filter"
    if is_slow:
        assert threads == ["filters-prompts", "filters-answers", "filters-answers"]
    else:
        assert not {"filters-prompts", "filters-answers"} & set(threads)


async def test_a_client_that_has_gone_leaves_no_slow_work_behind() -> None:
    begun, given_up = threading.Event(), list[threading.Event | None]()

    def find(text: str) -> list[Found]:
        given_up.append(GIVEN_UP.get())
        begun.set()
        assert given_up[0] is not None
        assert given_up[0].wait(10)
        return []

    finder = PersonalData(find=find, open_tail=len, is_slow=True)
    run = looking_for_personal_data(Script(Finished(0, "stop", USAGE)), finder)
    task = asyncio.create_task(heard(run(ask())))
    await asyncio.to_thread(begun.wait, 10)
    assert not given_up[0].is_set()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert given_up[0].is_set()
