"""The C API of llama.cpp, bound with ctypes from the shared library inside the `xllamacpp` wheel.

Nothing here has an opinion: structs and functions as `llama.h` of the pinned build declares them, and `check_layout`,
which compares the structs with the library's own default parameters before anything else is called. A struct that has
moved would corrupt memory silently, so a mismatch refuses to load. What the functions *mean* is in `backend.py`.
"""

import ctypes as c
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from mainspring.core.errors import EngineUnavailable

__all__ = ["WHEEL_VERSION", "Batch", "ContextParams", "Library", "ModelParams", "check_layout", "load"]

WHEEL_VERSION = "2026.10.11549"
"""The build whose `llama.h` the structs below were written from."""

FLASH_AUTO, FLASH_OFF, FLASH_ON = -1, 0, 1
TOKEN_ATTR_CONTROL = 1 << 3

LogCallback = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)
AbortCallback = c.CFUNCTYPE(c.c_bool, c.c_void_p)


class ModelParams(c.Structure):
    """`llama_model_params`."""

    _fields_: ClassVar = [
        ("devices", c.c_void_p),
        ("tensor_buft_overrides", c.c_void_p),
        ("n_gpu_layers", c.c_int32),
        ("split_mode", c.c_int),
        ("load_mode", c.c_int),
        ("lazy_mode", c.c_int),
        ("main_gpu", c.c_int32),
        ("tensor_split", c.c_void_p),
        ("progress_callback", c.c_void_p),
        ("progress_callback_user_data", c.c_void_p),
        ("kv_overrides", c.c_void_p),
        ("vocab_only", c.c_bool),
        ("check_tensors", c.c_bool),
        ("use_extra_bufts", c.c_bool),
        ("no_host", c.c_bool),
        ("no_alloc", c.c_bool),
        ("load_mtp", c.c_bool),
    ]


class ContextParams(c.Structure):
    """`llama_context_params`."""

    _fields_: ClassVar = [
        ("n_ctx", c.c_uint32),
        ("n_batch", c.c_uint32),
        ("n_ubatch", c.c_uint32),
        ("n_seq_max", c.c_uint32),
        ("n_rs_seq", c.c_uint32),
        ("n_outputs_max", c.c_uint32),
        ("n_outputs_max_per_seq", c.c_uint32),
        ("n_threads", c.c_int32),
        ("n_threads_batch", c.c_int32),
        ("ctx_type", c.c_int),
        ("rope_scaling_type", c.c_int),
        ("pooling_type", c.c_int),
        ("attention_type", c.c_int),
        ("flash_attn_type", c.c_int),
        ("rope_freq_base", c.c_float),
        ("rope_freq_scale", c.c_float),
        ("yarn_ext_factor", c.c_float),
        ("yarn_attn_factor", c.c_float),
        ("yarn_beta_fast", c.c_float),
        ("yarn_beta_slow", c.c_float),
        ("yarn_orig_ctx", c.c_uint32),
        ("defrag_thold", c.c_float),
        ("cb_eval", c.c_void_p),
        ("cb_eval_user_data", c.c_void_p),
        ("type_k", c.c_int),
        ("type_v", c.c_int),
        ("moe_cache_size", c.c_size_t),
        ("abort_callback", c.c_void_p),
        ("abort_callback_data", c.c_void_p),
        ("embeddings", c.c_bool),
        ("offload_kqv", c.c_bool),
        ("no_perf", c.c_bool),
        ("op_offload", c.c_bool),
        ("swa_full", c.c_bool),
        ("kv_unified", c.c_bool),
        ("samplers", c.c_void_p),
        ("n_samplers", c.c_size_t),
        ("ctx_other", c.c_void_p),
    ]


class Batch(c.Structure):
    """`llama_batch`: parallel arrays of `n_tokens` entries, owned by whoever built it."""

    _fields_: ClassVar = [
        ("n_tokens", c.c_int32),
        ("token", c.c_void_p),
        ("embd", c.c_void_p),
        ("pos", c.c_void_p),
        ("n_seq_id", c.c_void_p),
        ("seq_id", c.c_void_p),
        ("logits", c.c_void_p),
    ]


_ptr, _i32, _u32, _bool, _str = c.c_void_p, c.c_int32, c.c_uint32, c.c_bool, c.c_char_p

FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_version": (_str, []),
    "llama_log_set": (None, [LogCallback, _ptr]),
    "llama_backend_init": (None, []),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (_ptr, [_str, ModelParams]),
    "llama_model_free": (None, [_ptr]),
    "llama_init_from_model": (_ptr, [_ptr, ContextParams]),
    "llama_free": (None, [_ptr]),
    "llama_adapter_lora_init": (_ptr, [_ptr, _str]),
    "llama_adapter_lora_free": (None, [_ptr]),
    "llama_set_adapters_lora": (_i32, [_ptr, _ptr, c.c_size_t, _ptr]),
    "llama_n_ctx": (_u32, [_ptr]),
    "llama_n_ctx_seq": (_u32, [_ptr]),
    "llama_get_memory": (_ptr, [_ptr]),
    "llama_set_n_threads": (None, [_ptr, _i32, _i32]),
    "llama_model_get_vocab": (_ptr, [_ptr]),
    "llama_model_n_ctx_train": (_i32, [_ptr]),
    "llama_model_n_params": (c.c_uint64, [_ptr]),
    "llama_model_size": (c.c_uint64, [_ptr]),
    "llama_model_desc": (_i32, [_ptr, _str, c.c_size_t]),
    "llama_model_meta_val_str": (_i32, [_ptr, _str, _str, c.c_size_t]),
    "llama_model_chat_template": (_str, [_ptr, _str]),
    "llama_model_is_recurrent": (_bool, [_ptr]),
    "llama_model_is_hybrid": (_bool, [_ptr]),
    "llama_memory_seq_rm": (_bool, [_ptr, _i32, _i32, _i32]),
    "llama_memory_seq_cp": (None, [_ptr, _i32, _i32, _i32, _i32]),
    "llama_memory_seq_pos_max": (_i32, [_ptr, _i32]),
    "llama_memory_clear": (None, [_ptr, _bool]),
    "llama_state_seq_get_size": (c.c_size_t, [_ptr, _i32]),
    "llama_state_seq_get_data": (c.c_size_t, [_ptr, _ptr, c.c_size_t, _i32]),
    "llama_state_seq_set_data": (c.c_size_t, [_ptr, _ptr, c.c_size_t, _i32]),
    "llama_decode": (_i32, [_ptr, Batch]),
    "llama_set_abort_callback": (None, [_ptr, AbortCallback, _ptr]),
    "llama_get_logits": (_ptr, [_ptr]),
    "llama_get_embeddings_seq": (_ptr, [_ptr, _i32]),
    "llama_pooling_type": (c.c_int, [_ptr]),
    "llama_model_n_embd_out": (_i32, [_ptr]),
    "llama_vocab_n_tokens": (_i32, [_ptr]),
    "llama_vocab_get_attr": (c.c_int, [_ptr, _i32]),
    "llama_vocab_is_eog": (_bool, [_ptr, _i32]),
    "llama_vocab_fim_pre": (_i32, [_ptr]),
    "llama_vocab_fim_suf": (_i32, [_ptr]),
    "llama_vocab_fim_mid": (_i32, [_ptr]),
    "llama_vocab_fim_rep": (_i32, [_ptr]),
    "llama_vocab_fim_sep": (_i32, [_ptr]),
    "llama_vocab_is_control": (_bool, [_ptr, _i32]),
    "llama_vocab_bos": (_i32, [_ptr]),
    "llama_vocab_eos": (_i32, [_ptr]),
    "llama_vocab_get_add_bos": (_bool, [_ptr]),
    "llama_tokenize": (_i32, [_ptr, _ptr, _i32, _ptr, _i32, _bool, _bool]),
    "llama_token_to_piece": (_i32, [_ptr, _i32, _ptr, _i32, _i32, _bool]),
}


class Library:
    """The loaded shared library: each function of `FUNCTIONS` without its `llama_` prefix is an attribute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Lazy binding: the wheel's library is a Python extension, and a program that has not imported it as one
            # (us) lacks nothing it calls.
            self._dll = c.CDLL(str(path))
        except OSError as error:
            raise EngineUnavailable(f"The inference library {path.name} does not load: {error}.") from error
        for name, (result, arguments) in FUNCTIONS.items():
            try:
                function = getattr(self._dll, name)
            except AttributeError as error:
                raise EngineUnavailable(
                    f"The inference library {path.name} has no {name}: install xllamacpp=={WHEEL_VERSION}."
                ) from error
            function.restype, function.argtypes = result, arguments

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self._dll, f"llama_{name}")


def find() -> Path:
    """The shared library inside the installed wheel, without importing the wheel (its import costs 0.1 s)."""
    spec = importlib.util.find_spec("xllamacpp")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    found = sorted(folder.glob("xllamacpp*.so")) + sorted(folder.glob("xllamacpp*.pyd")) if folder else []
    if not found:
        raise EngineUnavailable(f"The inference library is missing: pip install xllamacpp=={WHEEL_VERSION}.")
    return found[0]


def check_layout(model: ModelParams, context: ContextParams) -> list[str]:
    """Fields of the library's default parameters that do not hold what the pinned build puts there; empty is good.

    The defaults chosen here are spread over both structs, so a field that was added, removed or moved shifts at
    least one of them.
    """
    expected = [
        ("model.n_gpu_layers", model.n_gpu_layers, (-1, 999)),
        ("model.split_mode", model.split_mode, (1,)),
        ("model.load_mode", model.load_mode, (-1, 1)),
        ("model.kv_overrides", model.kv_overrides, (None,)),
        ("model.vocab_only", model.vocab_only, (False,)),
        ("model.use_extra_bufts", model.use_extra_bufts, (True,)),
        ("context.n_ctx", context.n_ctx, (512,)),
        ("context.n_batch", context.n_batch, (2048,)),
        ("context.n_ubatch", context.n_ubatch, (512,)),
        ("context.n_seq_max", context.n_seq_max, (1,)),
        ("context.rope_scaling_type", context.rope_scaling_type, (-1,)),
        ("context.pooling_type", context.pooling_type, (-1,)),
        ("context.flash_attn_type", context.flash_attn_type, (-1,)),
        ("context.yarn_ext_factor", context.yarn_ext_factor, (-1.0,)),
        ("context.type_k", context.type_k, (1,)),
        ("context.type_v", context.type_v, (1,)),
        ("context.embeddings", context.embeddings, (False,)),
        ("context.offload_kqv", context.offload_kqv, (True,)),
        ("context.no_perf", context.no_perf, (True,)),
        ("context.samplers", context.samplers, (None,)),
        ("context.ctx_other", context.ctx_other, (None,)),
    ]
    return [
        f"{name} is {value!r}, expected {allowed[0]!r}" for name, value, allowed in expected if value not in allowed
    ]


@LogCallback
def _quiet(level: int, text: bytes, _data: int) -> None:
    """llama.cpp logs hundreds of lines while loading; only its errors (level 4) are worth showing."""
    if level == 4:
        print(text.decode(errors="replace"), end="", flush=True)


def load(path: Path | None = None) -> Library:
    """Load the library (`path`, or the wheel's), check version and struct layouts, and initialise it.

    Raises:
        EngineUnavailable: missing, unloadable, another version, or structs that do not match.
    """
    if path is None:
        try:
            version = importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            version = None
        if version is not None and version != WHEEL_VERSION:
            raise EngineUnavailable(f"xllamacpp {version} is installed: pip install xllamacpp=={WHEEL_VERSION}.")
    library = Library(path or find())
    wrong = check_layout(library.model_default_params(), library.context_default_params())
    if wrong:
        raise EngineUnavailable(
            f"The inference library {library.path.name} has other struct layouts ({'; '.join(wrong)}): "
            f"install xllamacpp=={WHEEL_VERSION}."
        )
    library.log_set(_quiet, None)
    library.backend_init()
    return library
