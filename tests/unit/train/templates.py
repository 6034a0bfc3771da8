"""Chat templates in the manner of well-known families, each with a vocabulary of its control tokens.

Written for these tests: what matters is how each ends answers, begins them, and what it does to the past.
"""

from typing import NamedTuple

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM_FIRST = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe helpful.<|im_end|>\n{% endif %}" + CHATML

LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'assistant' %}{{ ' ' + m.content | trim + ' ' + eos_token }}"
    "{% else %}{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content | trim + ' [/INST]' }}{% endif %}"
    "{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
    '{"name": "{{ m.tool_calls[0].function.name }}", "parameters": '
    "{{ m.tool_calls[0].function.arguments | tojson }}}<|eot_id|>"
    "{% elif m.role == 'tool' %}<|start_header_id|>ipython<|end_header_id|>\n\n{{ m.content }}<|eot_id|>"
    "{% else %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{% if loop.first and tools %}{% for t in tools %}{{ t | tojson }}\n{% endfor %}{% endif %}"
    "{{ m.content | trim }}<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
PHI3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
VICUNA = (
    "{% for m in messages %}{% if m.role == 'assistant' %}ASSISTANT: {{ m.content }}</s>{% else %}"
    "USER: {{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
ALPACA = (
    "{% for m in messages %}{% if m.role == 'assistant' %}### Response:\n{{ m.content }}\n\n{% else %}"
    "### Instruction:\n{{ m.content }}\n\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}### Response:\n{% endif %}"
)
QWEN_TOOLS = (
    "{% if tools %}<|im_start|>system\n<tools>{% for t in tools %}{{ t | tojson }}\n{% endfor %}</tools><|im_end|>\n"
    "{% endif %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>user\n<tool_response>\n{{ m.content }}\n"
    "</tool_response><|im_end|>\n{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}\n"
    '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>'
    "{% endfor %}<|im_end|>\n{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_THINKS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last and '</think>' not in m.content %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content.split('</think>')[-1].lstrip('\n') if m.role == 'assistant' and not loop.last else m.content }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>"
    "{{ m.content.split('</think>')[-1] }}<|eos|>{% else %}<|User|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
STRIPPED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n\n{% endif %}"
)


class Family(NamedTuple):
    template: str
    names: tuple[str, ...]
    """Control tokens; the first ends a text."""
    bos: bool = False


FAMILIES = {
    "chatml": Family(CHATML, ("<|im_end|>", "<|im_start|>")),
    "system-first": Family(SYSTEM_FIRST, ("<|im_end|>", "<|im_start|>")),
    "llama2": Family(LLAMA2, ("</s>", "<s>"), bos=True),
    "llama3": Family(LLAMA3, ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"), bos=True),
    "mistral": Family(MISTRAL, ("</s>", "<s>", "[INST]", "[/INST]"), bos=True),
    "gemma": Family(GEMMA, ("<end_of_turn>", "<bos>", "<start_of_turn>"), bos=True),
    "zephyr": Family(ZEPHYR, ("</s>", "<s>")),
    "phi3": Family(PHI3, ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")),
    "vicuna": Family(VICUNA, ("</s>", "<s>"), bos=True),
    "alpaca": Family(ALPACA, ("</s>",)),
    "qwen-tools": Family(QWEN_TOOLS, ("<|im_end|>", "<|im_start|>")),
    "qwen-thinks": Family(QWEN_THINKS, ("<|im_end|>", "<|im_start|>")),
    "r1": Family(R1, ("<|eos|>", "<|bos|>", "<|User|>", "<|Assistant|>"), bos=True),
    "stripped": Family(STRIPPED, ("<|im_end|>", "<|im_start|>")),
}

MERGES = [b"\n\n", b"\n\n\n", b"  ", b" a", b"ab", b": ", b"\nab", b"]  ", b"##", b"\na", b"ASSISTANT:", b"ASSISTANT: "]
"""Tokens of several bytes, some of which reach across the beginning of an answer."""


class GreedyVocabulary:
    """A `Vocabulary` in which text becomes the longest tokens that there are, from left to right: unkind, since a
    token may span the end of a prompt and the beginning of its answer."""

    context_length = 100_000

    def __init__(self, family: Family, merges: list[bytes] = MERGES) -> None:
        self.chat_template = family.template
        self._pieces = [*(name.encode() for name in family.names), *(bytes([b]) for b in range(256)), *merges]
        self.special_ids = range(len(family.names))
        self.num_tokens = len(self._pieces)
        self.eos = 0
        self.bos = 1 if family.bos else None
        by_length = sorted(range(self.num_tokens), key=lambda token: -len(self._pieces[token]))
        self._all = [(self._pieces[token], token) for token in by_length]
        self._plain = [(piece, token) for piece, token in self._all if token not in self.special_ids]

    def is_end(self, token: int) -> bool:
        return token == self.eos

    def piece(self, token: int) -> bytes:
        return self._pieces[token]

    def text(self, tokens) -> str:
        return b"".join(self._pieces[int(token)] for token in tokens).decode()

    def tokenize(self, text: bytes, *, special: bool = False) -> list[int]:
        tokens, at = [], 0
        while at < len(text):
            piece, token = next(
                pair for pair in (self._all if special else self._plain) if text.startswith(pair[0], at)
            )
            tokens.append(token)
            at += len(piece)
        return tokens
