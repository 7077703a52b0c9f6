"""What the base alone does: the other half of every paired comparison, from a child that never held an adapter."""

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, Job, Outcome, Sandbox
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.conduct import Memory
from peft_assay.observe.behaviour.interface import Plan, Records, Turn
from peft_assay.observe.behaviour.lengths import measure_prompts


def observe_base(sandbox: Sandbox, plan: Plan, memory: Memory | None = None) -> Records:
    """Every probe's record of the bare base, which may remember what it answered before.

    Raises ObservationError when the base itself cannot be exercised, or cannot take a case.
    """
    records = Records()
    remembered = memory or Memory()

    def converse(ask: Ask) -> None:
        records.keep(measure_prompts(ask, plan.suites))
        for probe in BEHAVIOUR_PROBES:
            record = probe.ask(Turn(ask, plan, records, None, remembered))
            if record is not None:
                records.keep(record)

    result = sandbox.run(Job(None, plan.limits, plan.compartment), converse)
    if result.outcome is not Outcome.OK or result.events:
        why = result.detail or "refused system calls"
        raise ObservationError(
            f"the base alone could not be exercised ({result.outcome.value}): {why}",
            next_step="check that the suites' prompts fit the base's context length and the job its limits",
        )
    return records
