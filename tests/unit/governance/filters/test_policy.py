"""Policies: ARM's JSON in and out, defaults, and rules that come from a base."""

import pytest

from mainspring.core.errors import InvalidRequest
from mainspring.governance.filters.policy import DEFAULT_V2, FilterRule, Policy, from_arm, to_arm

EXAMPLE = {
    "basePolicyName": "Microsoft.Default",
    "mode": "Asynchronous_filter",
    "contentFilters": [
        {"name": "hate", "blocking": False, "enabled": False, "severityThreshold": "High", "source": "Prompt"},
        {"name": "selfharm", "blocking": True, "enabled": True, "severityThreshold": "Medium", "source": "Completion"},
        {"name": "jailbreak", "blocking": True, "source": "Prompt", "enabled": True},
        {"name": "Protected Material Text", "blocking": True, "source": "Completion", "enabled": True},
        {"name": "protected_material_code", "blocking": True, "source": "Completion", "enabled": True},
    ],
    "promptBlocklists": [{"blocklistName": "words", "blocking": True}],
    "completionBlocklists": [{"blocklistName": "more", "blocking": False}],
}


def test_azures_example_is_read():
    policy = from_arm("mine", EXAMPLE)
    assert policy.is_asynchronous
    assert [rule.name for rule in policy.filters] == [
        "hate",
        "self_harm",
        "jailbreak",
        "protected_material_text",
        "protected_material_code",
    ]
    assert policy.filters[0] == FilterRule(
        name="hate", source="Prompt", enabled=False, blocking=False, threshold="high"
    )
    assert (policy.prompt_blocklists, policy.completion_blocklists) == (("words",), ("more",))
    assert policy.annotated_blocklists == ("more",)


def test_what_is_written_is_read_back():
    policy = from_arm("mine", EXAMPLE)
    assert from_arm("mine", to_arm(policy)) == policy
    assert from_arm(DEFAULT_V2.name, to_arm(DEFAULT_V2)) == DEFAULT_V2


def test_the_default_is_medium_in_both_directions_with_jailbreaks_blocked():
    prompt, completion = DEFAULT_V2.rules("Prompt"), DEFAULT_V2.rules("Completion")
    assert {rule.threshold for rule in (*prompt.values(), *completion.values())} == {"medium"}
    assert prompt["jailbreak"].blocking
    assert not completion["protected_material_text"].blocking
    assert "jailbreak" not in completion


def test_rules_of_the_base_hold_where_a_policy_says_nothing():
    policy = Policy(
        name="p", base="Microsoft.Default", filters=(FilterRule(name="hate", source="Prompt", enabled=False),)
    )
    assert "hate" not in policy.rules("Prompt")
    assert policy.rules("Prompt")["violence"].blocking
    assert "hate" in policy.rules("Completion")
    circle = {"a": Policy(name="a", base="b"), "b": Policy(name="b", base="a")}
    assert circle["a"].rules("Prompt", circle) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "Sometimes"},
        {"contentFilters": [{"name": "Rudeness", "source": "Prompt"}]},
        {"contentFilters": [{"name": "Jailbreak", "source": "Completion"}]},
        {"contentFilters": [{"name": "Hate", "source": "Prompt", "severityThreshold": "Extreme"}]},
        {"contentFilters": [{"name": "Hate", "source": "Prompt", "enabled": "yes"}]},
        {"contentFilters": {"name": "Hate"}},
        {"promptBlocklists": ["words"]},
        {"basePolicyName": 3},
        [],
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InvalidRequest) as caught:
        from_arm("p", wrong)
    assert caught.value.code == "invalid_policy"
