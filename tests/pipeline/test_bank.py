"""The bank of a workspace: who is in it, and that an adapter is never compared with itself."""

from dataclasses import replace

import pytest

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.digest import sha256
from peft_assay.core.observation import ObservedBy, ok
from peft_assay.observe.behaviour.probes.bank import FEWEST
from peft_assay.pipeline.bank import Member, bank_of, members, peft_type

NORM = "delta.largest_norm"


def lora(company):
    (found,) = [member for member in company if member.kind == "LORA"]
    return found


def another(member, number, *, kind="LORA", **conditions):
    """`member` as another adapter, of update norm `number`."""
    record = member.record
    artifact = Artifact((File("adapter_model.safetensors", 1, sha256(b"%d" % number)),))
    facts = tuple(
        ok(NORM, float(number), by=ObservedBy.INTAKE) if o.name == NORM else o for o in record.observations.observations
    )
    observations = replace(record.observations, artifact=artifact.digest, observations=facts)
    changed = {**record.conditions, **conditions}
    return Member(replace(record, artifact=artifact, observations=observations, conditions=changed), kind)


@pytest.fixture(scope="module")
def company(pristine):
    with pristine.open() as deployment:
        return members(deployment)


def bank(company, artifact, conditions, kind="LORA"):
    return bank_of(company, artifact, kind, conditions, ())


def test_members_are_what_certificates_rest_on(company):
    assert sorted(member.kind for member in company) == ["LORA", "PROMPT_TUNING"], "the denied ones are no members"
    assert lora(company).record.observations.get(NORM).value > 0


def test_adapters_of_the_same_type_and_base_are_compared_and_never_with_themselves(company):
    own = lora(company).record
    kin = [*company, *(another(lora(company), n) for n in range(1, 4))]
    found = bank(kin, own.artifact, own.conditions)
    assert sorted(found.values[NORM]) == [1.0, 2.0, 3.0]
    stranger = Artifact((File("x", 1, sha256(b"x")),))
    assert len(bank(kin, stranger, own.conditions).values[NORM]) == 4
    assert bank(kin, stranger, own.conditions, kind="LOHA").values == {}
    assert bank(kin, stranger, own.conditions, kind=None).values == {}


def test_another_base_is_no_company_and_other_conditions_are_none_for_behaviour(company):
    own = lora(company).record
    kin = [another(lora(company), 1, base={"files": "other", "state": "other"}), another(lora(company), 2, stack={})]
    found = bank(kin, own.artifact, own.conditions)
    assert found.values[NORM] == (2.0,)
    assert "scan.excess" not in found.values
    same = bank([another(lora(company), 3)], own.artifact, own.conditions)
    assert len(same.values["scan.excess"]) == 1


def test_an_adapter_counts_once_by_its_newest_observation(company):
    own = lora(company).record
    older, newer = another(lora(company), 1), another(lora(company), 2)
    newer = replace(newer, record=replace(newer.record, artifact=older.record.artifact))
    assert bank([older, newer], own.artifact, own.conditions).values[NORM] == (2.0,)


def test_its_own_static_measures_come_with_the_bank(company):
    own = lora(company).record
    static = (ok(NORM, 7.5, by=ObservedBy.INTAKE), ok("bounds.max_rank", 8, by=ObservedBy.INTAKE))
    assert bank_of(company, own.artifact, "LORA", own.conditions, static).own == {NORM: 7.5}


def test_what_was_withdrawn_is_no_member(world):
    digest = lora_digest(world)
    assert world.run("revoke", digest, "--reason", "test").code == 0
    with world.open() as deployment:
        assert [member.kind for member in members(deployment)] == ["PROMPT_TUNING"]


def lora_digest(world):
    with world.open() as deployment:
        return lora(members(deployment)).record.artifact.digest


def test_a_small_bank_says_its_size_in_the_signed_observations(company):
    for member in company:
        assert member.record.observations.get("bank.size").value == 0
        unusual = member.record.observations.get("bank.unusual")
        assert unusual.reason.startswith(
            f"0 adapters of the same base and type are certified here; a bank says something from {FEWEST}"
        )


def test_the_type_is_read_from_the_configuration_or_unknown(world):
    with world.open() as deployment:
        assert peft_type(deployment.workspace, lora(members(deployment)).record.artifact) == "LORA"
        assert peft_type(deployment.workspace, Artifact((File("x", 1, sha256(b"x")),))) is None
