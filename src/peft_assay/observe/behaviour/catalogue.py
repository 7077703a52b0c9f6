"""All behavioural probes, listed in code, in the order in which they ask."""

from peft_assay.observe.behaviour.interface import BehaviourProbe
from peft_assay.observe.behaviour.probes.effect import EffectProbe
from peft_assay.observe.behaviour.probes.load import LoadProbe
from peft_assay.observe.behaviour.probes.scan import ScanProbe
from peft_assay.observe.behaviour.probes.suites import SuitesProbe

BEHAVIOUR_PROBES: tuple[BehaviourProbe, ...] = (LoadProbe(), EffectProbe(), SuitesProbe(), ScanProbe())
"""Later probes may read the records of earlier ones."""
