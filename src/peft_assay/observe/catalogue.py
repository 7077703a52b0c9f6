"""All static probes, listed in code, and the one way to run them.

A probe that raises fails its own terms, never the run.
"""

from peft_assay.core.observation import Observation, ObservedBy, failed, sort_observations
from peft_assay.observe.interface import Probe, StaticSubject, Unreadable
from peft_assay.observe.static.base_claim import BaseClaimProbe
from peft_assay.observe.static.beside import BesideProbe
from peft_assay.observe.static.bounds import BoundsProbe
from peft_assay.observe.static.canonical import CanonicalProbe
from peft_assay.observe.static.card import CardProbe
from peft_assay.observe.static.companions import CompanionsProbe
from peft_assay.observe.static.conditional import ConditionalProbe
from peft_assay.observe.static.config import ConfigProbe
from peft_assay.observe.static.delta import DeltaProbe
from peft_assay.observe.static.files import FilesProbe
from peft_assay.observe.static.heads import HeadsProbe
from peft_assay.observe.static.lengths import LengthsProbe
from peft_assay.observe.static.lineage_probe import LineageProbe
from peft_assay.observe.static.naming import NamingProbe
from peft_assay.observe.static.nonfinite import NonfiniteProbe
from peft_assay.observe.static.patterns import PatternsProbe
from peft_assay.observe.static.pickle import PickleProbe
from peft_assay.observe.static.publisher import PublisherProbe
from peft_assay.observe.static.reach import ReachProbe
from peft_assay.observe.static.redirects import RedirectsProbe
from peft_assay.observe.static.requirements import RequirementsProbe
from peft_assay.observe.static.rewrites import RewritesProbe
from peft_assay.observe.static.rights import RightsProbe
from peft_assay.observe.static.room import RoomProbe
from peft_assay.observe.static.scanners import ScannersProbe
from peft_assay.observe.static.secrets import SecretsProbe
from peft_assay.observe.static.stack import StackProbe
from peft_assay.observe.static.strength import StrengthProbe
from peft_assay.observe.static.tokenizer import TokenizerProbe
from peft_assay.observe.static.undeclared import UndeclaredProbe
from peft_assay.observe.static.unusual import UnusualProbe
from peft_assay.observe.static.withdrawn import WithdrawnProbe

PROBES: tuple[Probe, ...] = (
    FilesProbe(),
    PickleProbe(),
    ScannersProbe(),
    CanonicalProbe(),
    NonfiniteProbe(),
    DeltaProbe(),
    UndeclaredProbe(),
    NamingProbe(),
    ConfigProbe(),
    RedirectsProbe(),
    RewritesProbe(),
    ConditionalProbe(),
    BoundsProbe(),
    StrengthProbe(),
    ReachProbe(),
    BesideProbe(),
    HeadsProbe(),
    TokenizerProbe(),
    StackProbe(),
    RequirementsProbe(),
    RoomProbe(),
    LengthsProbe(),
    RightsProbe(),
    BaseClaimProbe(),
    CardProbe(),
    CompanionsProbe(),
    UnusualProbe(),
    PublisherProbe(),
    PatternsProbe(),
    SecretsProbe(),
    LineageProbe(),
    WithdrawnProbe(),
)


def probe_versions(probes: tuple[Probe, ...] = PROBES) -> dict[str, str]:
    """Version of every probe by id, for the lock."""
    return {probe.id: probe.version for probe in probes}


def observe_static(subject: StaticSubject, probes: tuple[Probe, ...] = PROBES) -> tuple[Observation, ...]:
    """Every term of `probes` exactly once, sorted by name; nothing in the artifact makes this raise."""
    return sort_observations(observation for probe in probes for observation in _observe(probe, subject))


def _observe(probe: Probe, subject: StaticSubject) -> tuple[Observation, ...]:
    try:
        observed = tuple(probe.observe(subject))
    except Unreadable as problem:
        return _failed(probe, str(problem))
    except Exception as error:  # noqa: BLE001 - a probe that breaks on hostile bytes has observed nothing
        return _failed(probe, f"the probe broke: {type(error).__name__}")
    if sorted(observation.name for observation in observed) != sorted(probe.terms):
        return _failed(probe, "the probe did not observe exactly its terms")
    return observed


def _failed(probe: Probe, reason: str) -> tuple[Observation, ...]:
    return tuple(failed(term, f"{probe.id}: {reason}", by=ObservedBy.INTAKE) for term in probe.terms)
