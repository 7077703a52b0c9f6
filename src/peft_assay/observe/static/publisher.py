"""publisher.*: who signed the adapter, by the keys and identities that the context declares, or that nobody did.

A signature says who published the files, not that they are any good: it is evidence, and admits nothing by itself.
"""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.trust.publisher import Publisher, signature_file, verify_publisher
from peft_assay.trust.signatures import Signature


def publisher_of(subject: StaticSubject) -> Publisher:
    """What is known of who signed `subject`."""
    path = signature_file(subject.artifact)
    if path is None:
        return Publisher(Signature.NONE, None, "nobody signed it (there is no model.sig)")
    bundle = subject.files[path].body
    if bundle is None:
        return Publisher(Signature.INVALID, None, f"{path} is too large for a signature")
    context = subject.context
    return verify_publisher(bundle, subject.artifact, path, context.publishers, context.now)


class PublisherProbe:
    """publisher.identity and publisher.signature."""

    id = "publisher"
    version = "2"
    terms = ("publisher.identity", "publisher.signature")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """The identity is a failed observation unless a known publisher signed exactly these files."""
        found = publisher_of(subject)
        if found.name is None:
            yield failed("publisher.identity", found.reason, by=ObservedBy.INTAKE)
        else:
            yield ok("publisher.identity", found.name, by=ObservedBy.INTAKE, reason=found.reason)
        yield ok("publisher.signature", found.signature.value, by=ObservedBy.INTAKE, reason=found.reason)
