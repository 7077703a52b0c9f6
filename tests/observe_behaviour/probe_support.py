"""One probe on a base and an adapter, both in memory: the way `observe` takes, without the other probes."""

from observe_behaviour.behaviour_support import STATE, ToyModel
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.interface import Plan, Records, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesProbe


def records_of(model, plan, probes, base=None):
    found = Records()
    for probe in (SuitesProbe(), *probes):
        record = probe.ask(Turn(model.ask, plan, found, base))
        if record is not None:
            assert type(record) is probe.kind
            found.keep(record)
    return found


def seen_of(probe, model, suites, base=None, *, before=(), **exercises):
    """What `probe` sees; `before` are probes whose records it reads."""
    plan = Plan(tuple(suites), Exercises(**exercises))
    its = records_of(base or ToyModel(), plan, [*before, probe])
    return Seen(plan, records_of(model, plan, [*before, probe], its), its, STATE)


def observed(probe, model, suites, base=None, *, before=(), **exercises):
    """The probe's observations by name."""
    seen = seen_of(probe, model, suites, base, before=before, **exercises)
    found = {observation.name: observation for observation in probe.observe(seen)}
    assert set(found) == set(probe.terms(seen.plan))
    return found


def values(found):
    return {name: o.value for name, o in found.items() if o.status is Status.OK}


def statuses(found):
    return {o.status for o in found.values()}
