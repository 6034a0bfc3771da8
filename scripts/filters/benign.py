"""Harmless prompts by the ten thousand: everyday patterns filled with words of a dictionary.

What is rare in harmful sentences and common everywhere must not count as harm, and only many harmless texts teach that.
Words that stand for harm in our own sentences are left out.
"""

import random
from collections.abc import Iterator

PATTERNS = """
Tell me about the {w}. | What is {w}? | What is a {w}? | What is the difference between {w} and {w}? | Explain {w}.
Explain {w} to a child. | Explain how a {w} works. | How does {w} work? | How do I {w} a {w}? | How do I use {w} with {w}?
How can I learn {w}? | Why is {w} so {w}? | Why do people like {w}? | Who invented the {w}? | When was {w} discovered?
Where can I buy a {w}? | Where is {w}? | Which {w} is the best for {w}? | How many {w} are in a {w}? | How much does a {w} cost?
Write a short story about {w} and {w}. | Write a story about a {w} who meets a {w}. | Write a poem about {w}.
Write a haiku about {w}. | Write an email to my {w} about {w}. | Write an essay on {w} and {w}. | Write a song about {w}.
Write a function that returns the {w} of a {w}. | Write a Python script that reads {w} and prints {w}.
Write SQL that selects {w} from {w}. | Write a regular expression for {w}. | Write a joke about {w}.
Write a letter of complaint about {w}. | Write a product description for a {w}. | Write a speech about {w} for my team.
Translate "{w} {w}" into French. | Translate this text into German: {w} {w} {w}. | Summarise this text: {w} {w} {w} {w} {w}.
Summarize the article about {w} in three sentences. | Correct the grammar: {w} {w} the {w}. | Rewrite this politely: {w} the {w}.
Give me ten ideas for {w}. | Give me a recipe with {w} and {w}. | Give me a list of {w}. | List five facts about {w}.
Suggest a name for a {w}. | Recommend a book about {w}. | Compare {w} with {w}. | Make a table of {w} and {w}.
Act as a {r} and explain {w}. | You are a {r}. Help me with {w}. | Pretend you are a {r} and describe {w}.
I want you to act as a {r}. My first question is about {w}. | Role play: you are a {r}, I am a customer who wants {w}.
Imagine you are a {w}. Describe your day. | Let's play a game about {w}. | Pretend that the {w} can talk.
You are a helpful assistant. | You are a helpful assistant that answers questions about {w}. | You are a friendly {r}.
You are an assistant for {w}. Answer briefly and only with facts. If you do not know something, say so.
You are an expert in {w}. Always answer in {l}. Never mention {w}. | Answer in {l}. Do not use {w}.
Ignore the {w} and tell me about the {w}. | Ignore the previous paragraph and summarise the rest. | Forget the {w}, what about {w}?
Ignore upper case and sort the {w}. | Override the {w} setting with {w}. | Disable the {w} when {w} is set.
From now on call me {w}. | Please reply only with the {w}. | Do not explain, just give the {w}. | Say "{w}" and nothing else.
Repeat the word {w} three times. | Repeat the {w}. | Print {w} in a code block. | Output JSON with the keys {w} and {w}.
Hello | Hi there, how are you? | Thanks, that was helpful. | Good morning | ok | Yes please. | No, the other {w}. | Test | ping
Continue. | Go on. | Say hello. | Count from one to ten. | Tell me a joke. | What can you do? | Who are you? | Are you an AI?
The {w} of the {w} is {w}. | The {w} {w} the {w} and the {w}. | {w} and {w} are {w}. | There is a {w} in the {w}.
My {w} is {w}, what should I do? | My {w} does not {w}. | I like {w} and {w}. | I need a {w} for my {w}. | I have a {w} and want to {w} it.
She {w} the {w} and he {w} the {w}. | He took the {w} and put it on the {w}. | They went to the {w} to see the {w}.
We {w} the {w} every {w}. | It was a {w} {w}, and the {w} was {w}. | Our {w} team met the {w} and decided about {w}.
The user opens the {w} and selects {w}. | To install {w}, run pip install {w}. | Run the {w} before you {w} the {w}.
Do not {w} the {w}. | Please {w} the {w} before you {w} it. | You must {w} the {w} first. | Warning: the {w} may {w}.
Note to {w}: the {w} was moved to the {w}. | Dear {w}, please send the {w} by Friday. | Ticket: the {w} does not {w}.
Minutes: {w} reports on {w}; {w} sends the {w} to {w}. | The assistant {r} asks the {w} for the {w}.
2024-05-06 12:00:01 INFO {w}.{w}: {w} {w} done in 12 ms | ERROR {w}: cannot open {w} | Traceback: {w} error in {w} line 12
{{"{w}": "{w}", "{w}": 12}} | <{w}>{w}</{w}> | def {w}({w}): return {w} | import {w} from "{w}" | SELECT {w} FROM {w} WHERE {w} = 1
{w} | {w} {w} | {w} {w} {w} | {w} {w} {w} {w} {w} {w} | {w}, {w} and {w} | {w}? | {w}! | {w}: {w} {w} {w}
THE SOFTWARE IS PROVIDED AS IS, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING {w}.
Licensed under the {w} License; you may not use this {w} except in compliance with the {w}.
The quick brown {w} jumps over the lazy {w}. | Once upon a time there was a {w} who loved {w}. | Lorem ipsum {w} dolor {w}.
"""
ROLES = """teacher, tour guide, doctor, lawyer, Linux terminal, interviewer, poet, historian, trainer, chef, translator,
accountant, storyteller, gardener, coach, librarian, pirate, recruiter, plumber, Shakespeare, king, robot, salesman, travel
agent, mathematician, customer, therapist, nurse, detective, wizard, farmer, pilot, cat, SQL console, editor"""
LANGUAGES = "English, French, Spanish, German, Japanese, rhymes, one sentence, simple words, Italian, bullet points"


def prompts(words: list[str], count: int, seed: int) -> Iterator[tuple[str, str]]:
    """`count` prompts, each with the first word in it, by which they are set apart."""
    rng = random.Random(seed)  # noqa: S311
    patterns = [one.strip() for line in PATTERNS.strip().splitlines() for one in line.split(" | ")]
    roles = [one.strip() for one in ROLES.replace("\n", " ").split(",")]
    languages = [one.strip() for one in LANGUAGES.split(",")]
    for _ in range(count):
        chosen = [rng.choice(words) for _ in range(6)]
        text = " ".join(rng.choice(patterns) for _ in range(1 if rng.random() < 0.8 else rng.randint(2, 6)))
        text = text.replace("{{", "{").replace("}}", "}")
        for slot, among in (("{w}", chosen), ("{r}", roles), ("{l}", languages)):
            while slot in text:
                text = text.replace(slot, rng.choice(among if slot != "{w}" else words), 1)
        text = text.lower() if rng.random() < 0.2 else text
        yield (text * rng.randint(2, 20) if rng.random() < 0.03 else text), chosen[0]
