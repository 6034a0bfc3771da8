"""What a token of Hugging Face's files means in bytes, and which tokens begin and end a text."""

import json

import pytest

from mainspring.core.errors import EngineUnavailable
from mainspring.engine.huggingface import HfVocabulary, byte_characters
from tests.contract.fake_vllm import CHATML, write_vocabulary

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def write_sentencepiece(folder, **changes):
    """A vocabulary as Llama 2 and Mistral have it."""
    tokens = ["<unk>", "<s>", "</s>", "<0x41>", "<0xC3>", "<0xB6>", "\u2581", "a", "\u2581a", "<think>"]
    added = [(0, True), (1, True), (2, True), (9, False)]
    whole = {
        "version": "1.0",
        "added_tokens": [{"id": at, "content": tokens[at], "special": special, **FLAGS} for at, special in added],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "ByteFallback"},
        "model": {
            "type": "BPE",
            "vocab": {token: at for at, token in enumerate(tokens)},
            "merges": [["\u2581", "a"]],
            "byte_fallback": True,
            "unk_token": "<unk>",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole | changes))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": [2, 99]}))
    return folder


def test_bytes_of_a_byte_level_vocabulary(tmp_path):
    vocabulary = HfVocabulary(write_vocabulary(tmp_path), 100)
    text = "hello w\u00f6rld \U0001f642\n\x00".encode()
    tokens = vocabulary.tokenize(text)
    assert len(tokens) < len(text)
    assert b"".join(map(vocabulary.piece, tokens)) == text
    assert {vocabulary.piece(token) for token in range(256)} == {bytes([byte]) for byte in range(256)}
    assert len(byte_characters()) == 256
    assert vocabulary.piece(10**6) == b""


def test_bytes_of_a_sentencepiece_vocabulary(tmp_path):
    vocabulary = HfVocabulary(write_sentencepiece(tmp_path), 100)
    assert [vocabulary.piece(token) for token in (3, 4, 5, 6, 8)] == [b"A", b"\xc3", b"\xb6", b" ", b" a"]
    tokens = vocabulary.tokenize("a a\u00f6".encode())
    assert b"".join(map(vocabulary.piece, tokens)) == "a a\u00f6".encode()
    assert (vocabulary.bos, vocabulary.eos) == (1, 2)
    assert vocabulary.special_ids == [0, 1, 2]
    assert vocabulary.ends == [2], "an id beyond the vocabulary ends nothing"


def test_names_of_control_tokens_are_text_unless_they_may_be_tokens(tmp_path):
    vocabulary = HfVocabulary(write_vocabulary(tmp_path), 100)
    name = b"<|im_end|>"
    assert vocabulary.tokenize(name, special=True) == [vocabulary.eos]
    tokens = vocabulary.tokenize(name)
    assert vocabulary.eos not in tokens
    assert b"".join(map(vocabulary.piece, tokens)) == name
    assert vocabulary.is_end(vocabulary.eos)
    assert vocabulary.is_end(vocabulary.eos + 1), "<|endoftext|> ends a text although nobody says so"
    assert not vocabulary.is_end(vocabulary.eos - 1)


def test_the_template_may_be_a_file_or_one_of_several(tmp_path):
    folder = write_vocabulary(tmp_path)
    assert HfVocabulary(folder, 100).chat_template == CHATML
    settings = {"eos_token": {"content": "<|im_end|>"}}
    named = [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": named}))
    assert HfVocabulary(folder, 100).chat_template == "yes"
    (folder / "chat_template.jinja").write_text("a file")
    assert HfVocabulary(folder, 100).chat_template == "a file"


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json"])
def test_damaged_files_are_told(tmp_path, name):
    folder = write_vocabulary(tmp_path)
    (folder / name).write_text("{")
    with pytest.raises(EngineUnavailable, match=name.replace(".", r"\.")):
        HfVocabulary(folder, 100)
