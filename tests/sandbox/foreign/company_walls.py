"""A backend that does not ship with peft-assay: it is listed in a sandbox.yaml, and claims more than it can show."""

from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.namespace import NamespaceBackend


class CompanyWalls:
    name = "whatever it calls itself"
    ceiling = IsolationLevel.VM

    def __init__(self, inner):
        self.inner = inner

    def command(self, worker, mounts):
        return self.inner.command(worker, mounts)

    def describe(self):
        return self.inner.describe()


def make():
    return CompanyWalls(NamespaceBackend.find())


def fail():
    raise RuntimeError("no licence")
