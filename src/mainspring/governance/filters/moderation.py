"""OpenAI's 13 categories of moderation, over the classifier's four and rules of ours.

hate, sexual, violence and self-harm are the classifier's probabilities (of at least medium severity). What narrows one
of them (hate/threatening, sexual/minors, violence/graphic, self-harm/intent and self-harm/instructions) is the least of
all that it takes within one window of words. Harassment and illicit have no class: only rules find them, and miss most
of it. A rule has no probability: what it finds scores `RULE`, what it does not 0. docs/SAFETY.md says how good this is.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import re2

from mainspring.governance.filters.classifier import (
    DETECTED_AT,
    HEADS,
    SHORT_AT,
    SHORT_WORDS,
    Classifier,
    bundled,
    spans,
    tokens,
)
from mainspring.governance.filters.fold import fold

__all__ = ["CATEGORIES", "RULE", "Moderated", "moderate"]

CATEGORIES: tuple[str, ...] = (
    "harassment", "harassment/threatening", "sexual", "hate", "hate/threatening", "illicit", "illicit/violent",
    "self-harm/intent", "self-harm/instructions", "self-harm", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
RULE = 0.75
"""The score of what a rule finds."""
PIECE, OVERLAP = 20_000, 1_000
"""Characters of a text that are looked at together; a window of words is shorter than the overlap."""

_CLASSES = {"hate": "hate", "sexual": "sexual", "violence": "violence", "self-harm": "self_harm"}
_COLUMN = {name: HEADS.index(f"{of}:medium") for name, of in _CLASSES.items()}

_INSULT = (
    "idiot|moron|imbecile|loser|scum|pathetic|worthless|stupid|dumb|ugly|disgusting|retarded|retard|bitch|bastard|"
    "asshole|dumbass|whore|slut|coward|cunt|jackass|piece of shit|waste of (?:space|oxygen|air)"
)
_NAMED = "idiots?|morons?|imbeciles?|losers?|scum|bitch|bastards?|assholes?|dumbass|whore|slut|cunt|jackass"
_WORD = r"\w+ "
_HURT = "kill|murder|hurt|stab|shoot|strangle|choke|rape|torture|drown|hang|burn|punch|slap"
_KILL_SELF = (
    "(?:kill|hang|shoot|drown|cut|hurt|harm|starve|poison|strangle) (?:my|your|one)self|"
    "end (?:my|your) (?:own )?life|take (?:my|your) (?:own )?life|commit suicide|jump off (?:a|the) (?:bridge|roof)|"
    "slit (?:my|your) wrists?|self harm"
)
_MAKE = "make|build|cook|produce|synthesi[sz]e|manufacture|grow|buy|obtain|sell|smuggle"
_DRUGS = "meth|methamphetamine|crystal meth|heroin|cocaine|crack|mdma|ecstasy|fentanyl|lsd|ghb"
_ARMS = (
    "bomb|pipe bomb|explosives?|grenade|molotov(?: cocktail)?|silencer|ghost gun|nerve gas|sarin|ricin|anthrax|"
    "chemical weapons?|ied|napalm"
)
_CRIMES = (
    r"shoplift|launder (?:\w+ )?money|hot ?wire a car|steal (?:a|an|the|some|credit|someone s|somebody s) \w+|"
    r"hack into|break into (?:a|an|the|my|someone s|somebody s) \w+|counterfeit|evade taxes|blackmail|"
    r"commit (?:tax |insurance |credit card )?(?:fraud|arson|murder|robbery)|rob (?:a|an|the) \w+|hide a body|"
    r"get away with (?:murder|theft|stealing|fraud)|(?:make|get|buy) (?:a )?fake (?:id|passport|prescription)|"
    r"poison (?:my|a|the|his|her|someone|somebody|people)"
)
_HOW = (
    "(?:how (?:do|can|could|should|would) (?:i|you|we|one)|how to|ways? to|steps to|instructions (?:to|for)|"
    "teach me (?:how )?to|help me|tell me how to|show me how to|guide to|recipe for)"
)
_MINORS = (
    "child|children|kids?|minors?|underage|under age|preteens?|teens?|teenagers?|toddlers?|schoolgirls?|schoolboys?|"
    "bab(?:y|ies)|little (?:girl|boy)s?|0 years? old|0 year olds?|lolita|loli"
)
"""Numbers are all alike by then, so a sexual text with any age in it counts."""
_GORE = (
    r"blood|bloody|gore|gory|guts|entrails|intestines|severed|decapitat\w+|dismember\w+|disembowel\w+|mutilat\w+|"
    r"behead\w*|skull|brains|corpses?|gushing|eviscerat\w+|impal\w+"
)

_LIBRARY: Any = re2  # it has no types
_OPTIONS: Any = _LIBRARY.Options()
_OPTIONS.max_mem = 8 * 2**20
_RULES: dict[str, Any] = {
    name: _LIBRARY.compile(rf"\b(?:{pattern})\b", _OPTIONS)
    for name, pattern in {
        "harassment": rf"(?:you|u) (?:are|re|r) (?:{_WORD}){{0,2}}(?:{_INSULT})s?|"
        rf"youre (?:{_WORD}){{0,2}}(?:{_INSULT})|you (?:stupid |ugly |dumb |fucking |pathetic )*(?:{_NAMED})|"
        r"nobody (?:likes|loves|wants) you|everyone hates you|you (?:should|deserve to) die|"
        r"(?:go )?kill yourself|go die",
        "harassment/threatening": rf"(?:i|we) (?:will|ll|am going to|m going to|are going to|re going to|am gonna|"
        rf"m gonna|swear i will) (?:{_WORD}){{0,2}}(?:{_HURT}) (?:you|u|him|her|them|your (?:family|wife|kids?))|"
        r"(?:break|snap) your (?:neck|legs?|arms?|bones)|beat you up|i know where you live|"
        r"you (?:re|are) (?:dead meat|going to die)",
        "intent": rf"i (?:{_WORD}){{0,4}}(?:{_KILL_SELF})",
        "tired of life": r"i (?:just |really )?(?:want|wish|wanted) "
        r"(?:to (?:die|be dead)|i was dead|i were dead)|(?:don t|do not) want to (?:live|be alive) any ?more|"
        r"no reason to (?:live|go on living)",
        "instructions": rf"{_HOW} (?:\w+ ){{0,3}}(?:{_KILL_SELF})|(?:painless|easiest|best|quickest) (?:way|method)s? "
        rf"(?:to die|of suicide|to (?:{_KILL_SELF}))|suicide methods?",
        "illicit": rf"{_HOW} (?:\w+ ){{0,3}}(?:(?:{_MAKE}) (?:\w+ ){{0,3}}(?:{_DRUGS}|{_ARMS})|{_CRIMES})",
        "illicit/violent": rf"{_HOW} (?:\w+ ){{0,3}}(?:(?:{_MAKE}) (?:\w+ ){{0,3}}(?:{_ARMS})|commit (?:murder|arson)|"
        r"get away with murder|hide a body|poison (?:my|a|the|his|her|someone|somebody|people)|rob (?:a|an|the) \w+)",
        "minors": _MINORS,
        "graphic": _GORE,
    }.items()
}
_DENIED = re.compile(r" (?:not|never|no) ")
_DENIABLE = ("harassment", "harassment/threatening", "intent", "instructions")
"""Rules that are not meant if the words between say no: you are not stupid."""
_WORDS = re.compile(r"[^\w]+")


class Moderated(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a text: for each of `CATEGORIES` a score from 0 to 1, and whether it counts."""

    scores: dict[str, float]
    flags: dict[str, bool]

    @property
    def flagged(self) -> bool:
        """Whether anything was found."""
        return any(self.flags.values())


def moderate(text: str, classifier: Classifier | None = None) -> Moderated:
    """Look at a text. Takes about 0.3 ms for 1,000 characters."""
    scores, flags = dict.fromkeys(CATEGORIES, 0.0), dict.fromkeys(CATEGORIES, False)
    for piece in _pieces(text):
        folded = fold(piece)
        words = tokens(folded)
        if not words:
            continue
        least = SHORT_AT if len(words) < SHORT_WORDS else DETECTED_AT
        for name, score in _scores(folded, words, classifier or bundled()).items():
            scores[name] = max(scores[name], round(score, 6))
            flags[name] = flags[name] or score >= least
    return Moderated(scores=scores, flags=flags)


def _pieces(text: str) -> Iterator[str]:
    """A long text takes memory for all of its windows at once: so it is looked at in pieces that overlap."""
    start = 0
    while start == 0 or start + OVERLAP < len(text):
        yield text[start : start + PIECE]
        start += PIECE - OVERLAP


def _found(name: str, plain: str) -> bool:
    matches = _RULES[name].finditer(plain)
    return any(name not in _DENIABLE or not _DENIED.search(match.group()) for match in matches)


def _scores(folded: str, words: Sequence[str], classifier: Classifier) -> dict[str, float]:
    likely = classifier.by_window(words)
    found = {name: float(likely[:, column].max()) for name, column in _COLUMN.items()}
    plain = _plain(folded)
    ruled = {name: RULE if _found(name, plain) else 0.0 for name in _RULES if name not in ("minors", "graphic")}
    threat = likely[:, [_COLUMN["hate"], _COLUMN["violence"]]].min(1)
    harm, intent = found["self-harm"], max(ruled["intent"], ruled["tired of life"])
    instructions = ruled["instructions"]
    return {
        **found,
        "self-harm": max(harm, intent, instructions),
        "hate/threatening": float(threat.max()),
        "harassment": max(ruled["harassment"], ruled["harassment/threatening"]),
        "harassment/threatening": ruled["harassment/threatening"],
        "illicit": max(ruled["illicit"], ruled["illicit/violent"]),
        "illicit/violent": ruled["illicit/violent"],
        "self-harm/intent": intent,
        "self-harm/instructions": instructions,
        "sexual/minors": _beside(likely[:, _COLUMN["sexual"]], words, "minors"),
        "violence/graphic": _beside(likely[:, _COLUMN["violence"]], words, "graphic"),
    }


def _beside(likely: Any, words: Sequence[str], rule: str) -> float:
    """The highest of a class's probabilities in windows that the rule finds something in as well."""
    if not _RULES[rule].search(" ".join(words)):
        return 0.0
    best = 0.0
    for (begin, end), each in zip(spans(len(words)), likely.tolist(), strict=True):
        if each > best and _RULES[rule].search(" ".join(words[begin:end])):
            best = each
    return best


def _plain(folded: str) -> str:
    """Words with one space between them, as the rules have them: "don't" is "don t"."""
    return _WORDS.sub(" ", folded)
