"""OpenVINO GenAI on the same file, in an environment of its own, for `openvino.py`: imports nothing of ours.

    python benchmarks/_openvino.py MODEL THREADS

Reads one JSON object a line: prompts (token ids) and max_tokens. Answers each with one: wall_s, and ttft_s of a single
prompt. Loading a GGUF file converts it, which takes seconds and is not part of any figure.
"""

import json
import sys
import time
from typing import Any

import numpy as np
import openvino
import openvino_genai


def _run(pipeline: Any, prompts: list[list[int]], max_tokens: int) -> dict[str, Any]:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = max_tokens
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False
    width = max(map(len, prompts))
    ids = np.array([[0] * (width - len(one)) + one for one in prompts], np.int64)
    mask = np.array([[0] * (width - len(one)) + [1] * len(one) for one in prompts], np.int64)
    first: list[float] = []

    def told(_: str) -> Any:
        first.append(time.perf_counter())
        return openvino_genai.StreamingStatus.RUNNING

    asked = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(mask))
    start = time.perf_counter()
    result = pipeline.generate(asked, config, told) if len(prompts) == 1 else pipeline.generate(asked, config)
    wall = time.perf_counter() - start
    lengths = [len(tokens) for tokens in result.tokens]
    if lengths != [max_tokens] * len(prompts):
        raise RuntimeError(f"asked for {max_tokens} tokens each, got {lengths}")
    return {"wall_s": wall, "ttft_s": [result.perf_metrics.get_ttft().mean / 1000]}


def main() -> None:
    """Answer until the input ends."""
    model, threads = sys.argv[1], int(sys.argv[2])
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.cache_size = 2  # GB
    scheduler.max_num_batched_tokens = 2048
    scheduler.max_num_seqs = 16
    pipeline = openvino_genai.LLMPipeline(model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=threads)
    print(json.dumps({"ready": openvino_genai.__version__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_run(pipeline, asked["prompts"], asked["max_tokens"])), flush=True)


if __name__ == "__main__":
    main()
