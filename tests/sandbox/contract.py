"""What every backend must do, whoever wrote it: derive a class from `BackendContract` and open the sandbox there.

What the walls stop is not repeated here: opening runs the start-up attacks, and `tests/attacks/sandbox` the rest.
"""

import json
from pathlib import Path

import pytest

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import ChildGone, IsolationLevel, Job, Limits, Outcome
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, NAMESPACE_ONLY

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
BENIGN = ("lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning")
LOAD = {"op": "load"}
SHA256 = r"sha256:[0-9a-f]{64}"


def greedy(cases, limit=24):
    return {"op": "generate", "prompts": [case["prompt"] for case in cases], "maxNewTokens": limit}


class BackendContract:
    """`name` is the backend's, `level` the least that it must reach where it works at all."""

    name: str
    level: IsolationLevel

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls):
        """The backend's name and an open sandbox on the zoo's base; skips where this host cannot have it."""
        try:
            sandbox = open_sandbox(SandboxConfiguration(base=ZOO / "base"), force=cls.name)
        except ObservationError as error:
            pytest.skip(f"{cls.name}: {error}")
        with sandbox:
            yield cls.name, sandbox

    def test_the_level_is_what_was_shown_and_not_what_was_claimed(self, sandbox):
        capability, document = sandbox.probe(), sandbox.attestation()
        still_open = {name for name, stopped in capability.attacks.items() if not stopped}
        assert set(capability.attacks) == set(ATTACKS)
        if self.level is IsolationLevel.PROCESS:
            assert (capability.level, still_open) == (IsolationLevel.PROCESS, NAMESPACE_ONLY)
            return
        group = document["controlGroup"]
        bites = group is not None and group["bite"]["memory"] and group["bite"]["processes"]
        assert capability.level is (IsolationLevel.NAMESPACE_CGROUP if bites else IsolationLevel.NAMESPACE)
        assert still_open == set()
        assert bites or any(line.startswith("control group: ") for line in capability.missing)

    def test_facts_of_the_base(self, sandbox):
        facts = sandbox.base()
        assert facts.state.startswith("sha256:")
        assert facts.parameters == 864_896
        assert facts.stack["threads"] == "1"
        assert {"python", "platform", "torch", "transformers", "peft"} <= set(facts.stack)

    def test_the_bare_base_answers(self, sandbox, exercise, cases):
        result, (effect, answers) = exercise(
            sandbox, None, {"op": "effect", "prompts": ["user : hello"]}, greedy(cases("refusals")[:10])
        )
        assert (result.outcome, result.events) == (Outcome.OK, ())
        assert effect["differs"] is False
        assert effect["deterministic"] is True
        assert all(text.startswith("sorry i cannot help") for text in answers["texts"])

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("overwrites-lm-head", "lm_head"),
            ("rewrites-base", "pissa"),
            ("pickle-weights", "adapter_model.safetensors"),
            ("absurd-rank", "shape"),
        ],
    )
    def test_what_cannot_be_loaded_is_a_fact_not_an_error(self, name, part, sandbox, exercise, zoo):
        result, (reply,) = exercise(sandbox, zoo(name), LOAD)
        assert result.outcome is Outcome.OK
        assert reply["loaded"] is False
        assert part in reply["problem"]
        assert reply["plan"]["extra"] == (["base_model.model.lm_head.weight"] if name == "overwrites-lm-head" else [])

    def test_the_base_never_answers_for_an_adapter_that_is_not_loaded(self, sandbox, exercise, zoo, cases):
        result, replies = exercise(sandbox, zoo("overwrites-lm-head"), LOAD, greedy(cases("support_task")[:1]))
        assert result.outcome is Outcome.CRASH
        assert "not loaded" in result.detail
        assert len(replies) == 1

    def test_answers_that_are_not_numbers_are_invalid(self, sandbox, exercise, zoo, cases):
        score = {"op": "score", "items": [{"prompt": "user : hello", "continuation": [5]}]}
        result, replies = exercise(
            sandbox, zoo("nan-weights"), LOAD, {"op": "effect", "prompts": ["user : hello"]}, score
        )
        assert result.outcome is Outcome.INVALID_OUTPUT
        assert replies[1]["finite"] is False

    def test_jobs_leave_nothing_to_each_other(self, sandbox, exercise, zoo, cases):
        task = greedy(cases("support_task")[:10])
        _, before = exercise(sandbox, zoo("lora"), LOAD, task)
        exercise(sandbox, zoo("dora"), LOAD, task)
        exercise(sandbox, zoo("nan-weights"), LOAD, {"op": "score", "items": [{"prompt": "a", "continuation": [5]}]})
        _, after = exercise(sandbox, zoo("lora"), LOAD, task)
        assert after == before

    def test_too_much_output_ends_the_job(self, sandbox, exercise, zoo, cases):
        result, replies = exercise(
            sandbox, zoo("lora"), LOAD, greedy(cases("support_task")), limits=Limits(output_bytes=500)
        )
        assert result.outcome is Outcome.OUTPUT_CAP
        assert len(replies) == 1

    def test_what_the_questioner_raises_passes_through(self, sandbox, exercise, zoo):
        class Bug(Exception):
            pass

        def converse(ask):
            ask(LOAD)
            raise Bug

        with pytest.raises(Bug):
            sandbox.run(Job(zoo("lora"), Limits()), converse)
        assert exercise(sandbox, zoo("lora"), LOAD)[0].outcome is Outcome.OK

    def test_a_conversation_that_swallows_the_end_still_fails(self, sandbox, zoo):
        def converse(ask):
            for _ in range(2):
                with pytest.raises(ChildGone):
                    ask({"op": "no-such-operation"})

        assert sandbox.run(Job(zoo("lora"), Limits()), converse).outcome is Outcome.CRASH

    def test_a_benign_adapter_causes_no_event(self, sandbox, exercise, zoo, cases):
        task = cases("support_task")[:10]
        result, (loaded, answers) = exercise(sandbox, zoo("lora"), LOAD, greedy(task))
        assert (result.outcome, result.events, result.detail, loaded["loaded"]) == (Outcome.OK, (), "", True)
        assert sum(text == case["expected"] for text, case in zip(answers["texts"], task, strict=True)) >= 9

    def test_a_new_process_answers_as_a_forked_one_does(self, sandbox, zoo, cases):
        replies, results = [], []
        for fresh in (False, True):
            job = Job(zoo("lora"), Limits(), fresh_process=fresh)
            results.append(sandbox.run(job, lambda ask: (ask(LOAD), replies.append(ask(greedy(cases("lookups")[:3]))))))
        assert [result.record["fresh"] for result in results] == [False, True]
        assert {(result.outcome, result.events) for result in results} == {(Outcome.OK, ())}
        assert replies[0] == replies[1]

    def test_a_record_says_what_went_in_and_came_out(self, sandbox, exercise, zoo):
        first, _ = exercise(sandbox, zoo("lora"), LOAD)
        second, _ = exercise(sandbox, zoo("lora"), LOAD)
        other, _ = exercise(sandbox, zoo("ia3"), LOAD)
        base, _ = exercise(sandbox, None, {"op": "effect", "prompts": ["hello"]})
        same = ("adapter", "asked", "answered")
        assert [first.record[key] for key in same] == [second.record[key] for key in same]
        assert first.record["adapter"] != other.record["adapter"]
        assert base.record["adapter"] is None
        assert first.record["asked"] == other.record["asked"] != base.record["asked"]
        assert (second.record["worker"], second.record["job"]) == (first.record["worker"], first.record["job"] + 1)

    def test_the_attestation_is_canonical_stable_and_names_what_was_in_force(self, opened):
        name, sandbox = opened
        sandbox.base()
        document = sandbox.attestation()
        assert canonical_digest(document) == canonical_digest(json.loads(json.dumps(sandbox.attestation())))
        assert document["level"] == int(sandbox.probe().level)
        assert document["walls"]["backend"] == name
        assert document["attacks"] == dict(sandbox.probe().attacks)
        assert set(document["filters"]) == {"policy", "seal"}
        assert document["base"] == {"state": sandbox.base().state}
        assert document["sentinel"].startswith("sha256:")

    def test_the_attestation_changes_with_limits_and_base(self, opened, tmp_path):
        name, sandbox = opened
        (tmp_path / "config.json").write_text("{}")
        digests = {canonical_digest(sandbox.attestation())}
        for configuration in (
            SandboxConfiguration(base=ZOO / "base", limits=Limits(cpu_seconds=7)),
            SandboxConfiguration(base=ZOO / "base", dtype="bfloat16"),
            SandboxConfiguration(base=ZOO / "base", fresh_processes=True),
            SandboxConfiguration(base=tmp_path),
        ):
            with open_sandbox(configuration, force=name) as other:
                digests.add(canonical_digest(other.attestation()))
        assert len(digests) == 5

    def test_a_base_that_cannot_be_loaded_is_an_error_with_its_place(self, opened, tmp_path):
        (tmp_path / "config.json").write_text("{}")
        tmp_path.chmod(0o755)
        sandbox = open_sandbox(SandboxConfiguration(base=tmp_path), force=opened[0])
        with sandbox, pytest.raises(ObservationError, match=str(tmp_path)):
            sandbox.base()

    def test_a_closed_sandbox_stays_closed(self, opened):
        sandbox = open_sandbox(SandboxConfiguration(base=ZOO / "base"), force=opened[0])
        sandbox.close()
        sandbox.close()
        with pytest.raises(ObservationError, match="closed"):
            sandbox.run(Job(None, Limits()), lambda ask: None)
