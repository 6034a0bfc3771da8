"""Operations that OpenAI's document does not list: Azure OpenAI's data plane in both of its dialects, and what OpenAI's
packages ask for all the same.

Azure's own documents are not in this repository. Its v1 API has OpenAI's paths, and its classic one those below
/openai, some of them below a deployment; which families there are is taken from

- openai-python 3.3.1, `lib/azure.py`: what has the deployment in its path;
- MicrosoftDocs/azure-ai-docs, `articles/foundry/openai`: latest.md and api-version-lifecycle.md (v1),
  includes/api-versions/latest-authoring.md (classic files, batches, fine-tuning), includes/fine-tuning-rest.md (copies
  of checkpoints), how-to/responses.md, how-to/stored-completions.md;
- Azure/azure-rest-api-specs, `specification/ai/data-plane/OpenAI.v1/azure-v1-v1-generated.json` (v1) and
  `specification/cognitiveservices/data-plane/AzureOpenAI`, `inference` and `authoring`, 2024-10-21 (classic).

Families of OpenAI's document that none of these has are not Azure's here: moderations, videos, skills, chatkit,
administration.
"""

import re
from collections.abc import Iterable, Mapping

__all__ = ["AZURE", "PACKAGES", "Operations", "azure_operations"]

Operations = dict[str, str]
"""Operation -> the path that it has there; both with OpenAI's names of parameters."""

PACKAGES = (
    "GET /webhook_endpoints",
    "POST /webhook_endpoints",
    "DELETE /webhook_endpoints/{webhook_endpoint_id}",
    "GET /webhook_endpoints/{webhook_endpoint_id}",
    "POST /webhook_endpoints/{webhook_endpoint_id}",
    "POST /webhook_endpoints/{webhook_endpoint_id}/rotate_secret",
    "POST /webhook_endpoints/{webhook_endpoint_id}/test",
    "GET /webhook_event_types",
)
"""In openai-python 3.3.1 (`resources/webhooks`) and openai-node, and not in OpenAI's document, version 2.3.0."""

_STORED = r"/chat/completions(/.*)?"
_TUNING = r"/fine_tuning/(jobs|checkpoints)(/.*)?"
_SHARED = (
    r"/responses(/[^?]*)?", r"/files(/.*)?", _TUNING, r"/batches(/.*)?", r"/vector_stores(/.*)?", r"/evals(/.*)?",
    r"/(assistants|threads)(/.*)?", r"/fine_tuning/alpha/graders/.*",
)  # fmt: skip
_INFERENCE = (
    r"/completions", r"/embeddings", r"/images/(generations|edits)", r"/audio/(transcriptions|translations|speech)",
)  # fmt: skip
AZURE: Mapping[str, tuple[str, ...]] = {
    "Azure v1": (
        *_SHARED, *_INFERENCE, _STORED, r"/conversations(/.*)?", r"/containers(/.*)?", r"/models(/.*)?",
        r"/realtime/(client_secrets|sessions|calls(/.*)?)",
    ),
    "Azure classic": (*_SHARED, *_INFERENCE, _STORED, r"/uploads(/.*)?", r"/models(/\{model\})?"),
}  # fmt: skip
"""Dialect -> what OpenAI's paths look like that it has."""
_COPY = "/fine_tuning/jobs/{fine_tuning_job_id}/checkpoints/{fine_tuning_checkpoint_id}/copy"
_OWN: Mapping[str, tuple[str, ...]] = {
    "Azure v1": (f"POST {_COPY}", f"GET {_COPY}"),
    "Azure classic": (
        f"POST {_COPY}",
        f"GET {_COPY}",
        "POST /files/import",
        "GET /deployments",
        "GET /deployments/{deployment_id}",
    ),
}
"""What OpenAI does not have."""
_NOT = {"Azure classic": frozenset({"DELETE /models/{model}"})}
_BELOW_A_DEPLOYMENT = re.compile(r"POST (/chat/completions|/completions|/embeddings|/images/.*|/audio/.*)")


def azure_operations(openai: Iterable[str]) -> dict[str, Operations]:
    """Of each dialect of Azure's, its operations, from those of OpenAI's document ("GET /files")."""
    listed, found = list(openai), dict[str, Operations]()
    for dialect, patterns in AZURE.items():
        whole = re.compile("|".join(f"({each})" for each in patterns))
        names = [each for each in listed if "?" not in each and whole.fullmatch(each.partition(" ")[2])]
        names = [each for each in (*names, *_OWN[dialect]) if each not in _NOT.get(dialect, ())]
        found[dialect] = {each: _path(dialect, each) for each in names}
    return found


def _path(dialect: str, operation: str) -> str:
    path = operation.partition(" ")[2]
    if dialect == "Azure v1":
        return f"/openai/v1{path}"
    below = _BELOW_A_DEPLOYMENT.fullmatch(operation)
    return f"/openai/deployments/{{deployment}}{path}" if below else f"/openai{path}"
