"""uv beside the lock: real resolutions against a folder of wheels, so that no index is asked."""

import zipfile

import pytest

from observe_static.static_support import CONTEXT, config, observed
from peft_assay.core.context import Engine
from peft_assay.core.errors import UsageError
from peft_assay.core.observation import Status
from peft_assay.observe.interface import Resolution, StaticContext
from peft_assay.pipeline import resolution


def _wheel(folder, name, version, *requires):
    known = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{known}/METADATA", metadata)
        wheel.writestr(f"{known}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{known}/RECORD", "")


@pytest.fixture
def resolve(tmp_path):
    try:
        resolution.uv()
    except UsageError as absent:
        pytest.skip(absent.message)
    for version in ("1.0", "2.0"):
        _wheel(tmp_path, "base", version)
    _wheel(tmp_path, "kernel", "3.0", "base>=2")
    return resolution.resolver({"base": "1.0"}, ["--no-index", "--find-links", str(tmp_path), "--offline"])


def test_what_goes_with_the_lock_and_what_does_not(resolve):
    assert resolve(["base>=1"]).resolved is True
    assert resolve([]).resolved is True
    answer = resolve(["kernel"])  # it needs base>=2, and the lock pins 1.0
    assert answer.resolved is False
    assert "base" in answer.said
    assert resolve(["nowhere==9"]).resolved is False


@pytest.mark.parametrize("line", ["--index-url https://example.org", "-r /etc/passwd", "x @ https://example.org/x.whl"])
def test_only_names_with_versions_reach_uv(resolve, line):
    assert resolve([line]).resolved is None


def test_a_resolver_that_does_not_answer_is_no_answer(monkeypatch, tmp_path):
    absent = resolution.Resolver(str(tmp_path / "absent"), {}, ())
    assert absent(["base"]).resolved is None


def test_without_uv_the_next_step_is_told(monkeypatch):
    monkeypatch.setattr(resolution, "which", lambda *names, **options: None)
    with pytest.raises(UsageError) as refused:
        resolution.resolver({})
    assert "resolver" in str(refused.value.next_step)


@pytest.mark.parametrize(
    ("answer", "status", "value"),
    [
        (Resolution(True, ""), Status.OK, True),
        (Resolution(False, "no"), Status.OK, False),
        (Resolution(None, "offline"), Status.FAILED, None),
    ],
)
def test_the_answer_is_an_observation_and_no_answer_is_none(answer, status, value):
    asked = []
    context = StaticContext(
        Engine("peft", "float32", 32), CONTEXT.datasets, "mit", locked={"peft": "0.21.2"},
        resolve=lambda requirements: asked.append(list(requirements)) or answer,
    )  # fmt: skip
    observation = observed("stack.resolves", configuration=config(peft_version="0.20.0"), context=context)
    assert (observation.status, observation.value) == (status, value)
    assert asked == [["peft>=0.20.0"]]
    assert observed("stack.resolves").status is Status.NOT_APPLICABLE
