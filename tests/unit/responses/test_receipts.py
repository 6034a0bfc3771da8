"""Receipts and what they are made of, on both databases."""

import lzma
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, update

from mainspring.core.errors import InvalidRequest, NotFound
from mainspring.core.receipt import Weights
from mainspring.responses.receipt import hash_of
from mainspring.responses.receipts import Receipts
from mainspring.responses.rerun import Rerun, Wanted, first_difference
from mainspring.store.receipts import traces_of
from mainspring.store.tables import response_items, response_traces
from tests.unit.responses.installation import OWNER, Installation, ask_of, blank, installed

SEARCH = {"type": "file_search", "vector_store_ids": ["vs_1"]}


@pytest.fixture
async def here(tmp_path: Path, database_url: str) -> AsyncGenerator[Installation]:
    async with installed(tmp_path, database_url) as found:
        yield found


@pytest.fixture
def receipts(here: Installation) -> Receipts:
    return Receipts(here.database, here.clock)


async def receipt(receipts: Receipts, name: str) -> dict[str, Any]:
    found = await receipts.receipt("default", name, OWNER)
    return msgspec.json.decode(msgspec.json.encode(found))


async def again(here: Installation, receipts: Receipts, name: str, **fields: Any) -> Rerun:
    return await receipts.rerun(Wanted(id=name, project="default", tenant="key", **fields), OWNER, here.engine.generate)


async def made_in_background(here: Installation, name: str, text: str = "Hello", **fields: Any) -> dict[str, Any]:
    ask = ask_of(name, text, background=True, **fields)
    await here.responses.enqueue(ask, blank(ask))
    return await here.over(name)


async def change(here: Installation, table: Any, **values: Any) -> None:
    async with here.database.write() as connection:
        await connection.execute(update(table).values(**values))


@pytest.mark.parametrize("background", [False, True])
async def test_a_receipt_tells_how_it_was_made_and_has_one_hash(
    here: Installation, receipts: Receipts, *, background: bool
) -> None:
    if background:
        await made_in_background(here, "resp_1", "Hello", instructions="Be kind.")
    else:
        await here.make(ask_of("resp_1", "Hello", instructions="Be kind."))
    found = await receipt(receipts, "resp_1")
    [made] = found["generations"]
    assert made["prompt"]["text"] == "<system>Be kind.\n<user>Hello\n"
    assert (made["weights"]["model"], made["engine"]["name"]) == (f"fake@{here.engine.find('fake').version}", "fake")
    assert (made["drawing"]["seed"], made["drawing"]["seed_was_given"]) == (0, False)
    assert (found["unknown"], found["altered"], found["server"]) == ([], [], "0.1.0")
    assert found["sha256"] == hash_of(found) == (await receipt(receipts, "resp_1"))["sha256"]
    verdict = await again(here, receipts, "resp_1", receipt=found)
    assert (verdict.identical, verdict.receipt, verdict.why) == (True, "matches", None)
    request = here.engine.requests[-1]
    assert (request.tier, request.sampling.seed, request.tenant) == ("flex", 0, "key")


async def test_the_meter_counts_each_message_and_what_was_cached(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1", "the and"))
    await here.make(ask_of("resp_2", "of", previous="resp_1"))
    found = await receipts.context("default", "resp_2", OWNER)
    assert [(each.role, each.state) for each in found.messages] == [
        ("user", "seen"), ("assistant", "seen"), ("user", "seen"),
    ]  # fmt: skip
    assert found.messages[0].items == ["msg_resp_1"]
    assert found.is_exact
    counted = sum(each.tokens or 0 for each in found.messages)
    assert found.prompt_tokens == counted + (found.template_tokens or 0)
    await here.make(ask_of("resp_3", "of", previous="resp_1"))
    found = await receipts.context("default", "resp_3", OWNER)
    assert found.cached_tokens == (found.prompt_tokens or 0) - 1
    assert [each.state for each in found.messages] == ["cached", "cached", "cached"]


async def test_what_was_left_out_is_told_with_its_tokens(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1", "x" * 3000))
    await here.make(ask_of("resp_2", "y" * 3000, previous="resp_1", truncates=True))
    found = await receipts.context("default", "resp_2", OWNER)
    assert [each.state for each in found.messages] == ["left_out", "left_out", "seen"]
    assert (found.left_out, found.messages[0].items, found.messages[0].tokens) == (2, ["msg_resp_1"], 1)
    assert (found.messages[0].beginning, found.context_length) == ("x" * 120, 4096)


async def test_an_answer_that_goes_on_has_a_meter_and_no_receipt(here: Installation, receipts: Receipts) -> None:
    ask = ask_of("resp_1", "Hello !hang after 3", background=True)
    await here.responses.enqueue(ask, blank(ask))
    await here.wait_for("resp_1", "response.output_text.delta")
    found = await receipts.context("default", "resp_1", OWNER)
    assert (found.status, found.answer_tokens, len(found.messages)) == ("in_progress", None, 1)
    with pytest.raises(InvalidRequest, match="in_progress"):
        await receipts.receipt("default", "resp_1", OWNER)
    await here.responses.cancel("default", "resp_1", OWNER)
    stopped = await receipt(receipts, "resp_1")
    assert stopped["generations"][0]["tokens"] is None
    assert stopped["altered"] == []
    verdict = await again(here, receipts, "resp_1")
    assert verdict.identical is None
    assert "broken off" in (verdict.why or "")


async def test_each_run_of_the_model_between_tools_is_made_again(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1", '!call search {"query":"cats"}', definitions=((0, SEARCH),)))
    found = await receipt(receipts, "resp_1")
    assert len(found["generations"]) == 2
    assert "Cats purr." in found["generations"][1]["prompt"]["text"]
    asked = len(here.engine.requests)
    verdict = await again(here, receipts, "resp_1")
    assert [each.identical for each in verdict.runs] == [True, True]
    assert len(here.engine.requests) == asked + 2


async def test_an_altered_answer_is_found(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1"))
    async with here.database.read() as connection:
        query = select(response_items.c.body).where(response_items.c.is_output)
        body = (await connection.execute(query)).scalar_one()
    item = msgspec.json.decode(body)
    item["content"][0]["text"] += " not"
    async with here.database.write() as connection:
        change_it = update(response_items).where(response_items.c.is_output)
        await connection.execute(change_it.values(body=msgspec.json.encode(item).decode()))
    assert (await receipt(receipts, "resp_1"))["altered"] == ["answer"]
    verdict = await again(here, receipts, "resp_1")
    assert (verdict.identical, verdict.altered) == (False, ["answer"])


async def test_an_altered_trace_is_found_and_not_made_again(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1"))
    async with here.database.read() as connection:
        trace = (await traces_of(connection, "resp_1"))[1]
    other = trace.replace(b'"Hello"', b'"Hallo"')
    assert other != trace
    async with here.database.write() as connection:
        change_it = update(response_traces).where(response_traces.c.seq == 1)
        await connection.execute(change_it.values(body=lzma.compress(other)))
    verdict = await again(here, receipts, "resp_1")
    assert (verdict.identical, verdict.altered, verdict.runs) == (None, ["generation 1"], [])
    await change(here, response_traces, body=b"nothing of ours")
    found = await receipt(receipts, "resp_1")
    assert found["altered"] == ["generation 1"]
    assert found["unknown"] != []


async def test_a_doctored_receipt_is_found(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1"))
    found = await receipt(receipts, "resp_1")
    found["generations"][0]["drawing"]["seed"] = 1
    verdict = await again(here, receipts, "resp_1", receipt=found)
    assert (verdict.identical, verdict.receipt) == (None, "differs")
    assert verdict.differs_at == "/generations/0/drawing/seed"
    assert verdict.runs == []


async def test_another_answer_is_told_with_its_place(here: Installation, receipts: Receipts) -> None:
    here.engine = type(here.engine)(("fake", "other"))
    await here.make(ask_of("resp_1"))

    async def other(request: Any) -> AsyncGenerator[Any]:
        seeded = msgspec.structs.replace(request.sampling, seed=5)
        async for event in here.engine.generate(msgspec.structs.replace(request, sampling=seeded)):
            yield event

    wanted = Wanted(id="resp_1", project="default", tenant="key")
    [run] = (await receipts.rerun(wanted, OWNER, other)).runs
    assert run.identical is False
    assert (run.token, run.character) == (0, 1)  # both begin with a space
    assert run.original is not None
    assert run.again is not None
    assert run.original.after[0] != run.again.after[0]
    verdict = await again(here, receipts, "resp_1", model="other")
    assert (verdict.deployment, verdict.identical) == ("other", True)
    assert verdict.runs[0].weights is not None
    assert verdict.runs[0].weights.model.startswith("other@")


async def test_a_model_that_is_not_what_it_was_is_not_asked(here: Installation) -> None:
    async def check(weights: Weights) -> str | None:
        return f"The model {weights.model} is gone."

    receipts = Receipts(here.database, here.clock, check)
    await here.make(ask_of("resp_1"))
    asked = len(here.engine.requests)
    verdict = await again(here, receipts, "resp_1")
    assert verdict.identical is None
    assert "is gone" in (verdict.why or "")
    assert len(here.engine.requests) == asked


async def test_what_nobody_wrote_down_is_said_to_be_unknown(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1"))
    async with here.database.write() as connection:
        await connection.execute(response_traces.delete())
    found = await receipt(receipts, "resp_1")
    assert "before receipts" in found["unknown"][0]
    assert found["context"] is None
    assert (await receipts.context("default", "resp_1", OWNER)).context_length is None
    verdict = await again(here, receipts, "resp_1")
    assert (verdict.identical, verdict.runs) == (None, [])


async def test_a_trace_goes_with_its_response(here: Installation, receipts: Receipts) -> None:
    await here.make(ask_of("resp_1"))
    await here.make(ask_of("resp_2", stores=False))
    with pytest.raises(NotFound):
        await receipts.receipt("default", "resp_2", OWNER)
    await here.responses.remove("default", "resp_1", OWNER)
    async with here.database.read() as connection:
        left = (await connection.execute(select(func.count()).select_from(response_traces))).scalar_one()
    assert left == 0


def test_where_documents_differ() -> None:
    one = {"a": [1, {"b/c": True}], "d": None}
    assert first_difference(one, msgspec.json.decode(msgspec.json.encode(one))) is None
    assert first_difference(one, {"a": [1, {"b/c": 1}], "d": None}) == "/a/1/b~1c"
    assert first_difference(one, {"a": [1], "d": None}) == "/a/1"
    assert first_difference(one, {**one, "e": 1}) == "/e"
    assert first_difference(1, 2) == "/"
