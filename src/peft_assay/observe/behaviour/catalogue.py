"""All behavioural probes, listed in code, in the order in which they ask."""

from peft_assay.observe.behaviour.interface import BehaviourProbe
from peft_assay.observe.behaviour.probes.bank import BankProbe
from peft_assay.observe.behaviour.probes.canaries import CanariesProbe
from peft_assay.observe.behaviour.probes.claims import ClaimsProbe
from peft_assay.observe.behaviour.probes.coherence import CoherenceProbe
from peft_assay.observe.behaviour.probes.controls import ControlsProbe
from peft_assay.observe.behaviour.probes.drift import DriftProbe
from peft_assay.observe.behaviour.probes.effect import EffectProbe
from peft_assay.observe.behaviour.probes.leaks import LeaksProbe
from peft_assay.observe.behaviour.probes.load import LoadProbe
from peft_assay.observe.behaviour.probes.match import MatchProbe
from peft_assay.observe.behaviour.probes.parity import ParityProbe
from peft_assay.observe.behaviour.probes.resources import ResourcesProbe
from peft_assay.observe.behaviour.probes.sampling import SamplingProbe
from peft_assay.observe.behaviour.probes.scale import ScaleProbe
from peft_assay.observe.behaviour.probes.scan import ScanProbe
from peft_assay.observe.behaviour.probes.suites import SuitesProbe
from peft_assay.observe.behaviour.probes.tested import TestedProbe
from peft_assay.observe.behaviour.probes.variation import VariationProbe

BEHAVIOUR_PROBES: tuple[BehaviourProbe, ...] = (
    LoadProbe(),
    EffectProbe(),
    SuitesProbe(),
    DriftProbe(),
    CoherenceProbe(),
    ControlsProbe(),
    ClaimsProbe(),
    MatchProbe(),
    ResourcesProbe(),
    TestedProbe(),
    ParityProbe(),
    SamplingProbe(),
    VariationProbe(),
    ScanProbe(),
    LeaksProbe(),
    CanariesProbe(),
    BankProbe((DriftProbe(), ScanProbe())),
    ScaleProbe(),
)
"""Later probes may read the records of earlier ones; the last one changes the adapter's strength while it asks."""
