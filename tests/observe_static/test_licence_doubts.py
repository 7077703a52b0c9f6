"""A licence that is said twice, and not alike, is unknown: the control is the card's own word, which is apache-2.0."""

import json

import pytest

from observe_static.static_support import config, observed
from peft_assay.core.observation import Status
from peft_assay.observe.static.tables import text_table

CARD = "---\nlicense: apache-2.0\ndatasets: [zoo/dialogues]\n---\n# An adapter\n"
NC = "cc-by-nc-4.0"
TERMS = "rights.licence", "rights.licence_commercial", "rights.grants.commercial"


def _seen(card: str = CARD, **files: bytes):
    named = {"README.md": card.encode(), "adapter_config.json": json.dumps(config()).encode()}
    return observed("rights.licence", files={**named, **files})


def _grant(card: str = CARD, **files: bytes):
    named = {"README.md": card.encode(), "adapter_config.json": json.dumps(config()).encode()}
    return str(observed("rights.grants.commercial", files={**named, **files}).reason)


def test_control_the_card_alone_is_believed():
    assert _seen().value == "apache-2.0"


@pytest.mark.parametrize(
    "card",
    [
        CARD + "\nText.\n\n---\nlicense: cc-by-nc-4.0\n---\n",
        CARD + "\n```yaml\nlicense: cc-by-nc-4.0\n```\n",
        CARD + "\n**License:** CC-BY-NC-4.0\n",
        CARD + "\n## License\n\nThis model is for non-commercial use only.\n",
        CARD + "\n# Licence\nCC BY-NC-SA 4.0\n",
        CARD + "\nLicense: https://creativecommons.org/licenses/by-nc/4.0/\n",
        CARD + "\nThis model is licensed under CC BY-NC 4.0.\n",
        CARD + "\nThe adapter weights are released under the Creative Commons Attribution-NonCommercial licence.\n",
        CARD + "\nLicensed under https://creativecommons.org/licenses/by-nc/4.0/\n",
        CARD + "\nFor non-commercial use only.\n",
        CARD + "\n[![License](https://img.example/nc.svg)](https://creativecommons.org/licenses/by-nc/4.0/)\n",
        CARD + "\n<!-- spdx-license-identifier: (Apache-2.0 AND CC-BY-NC-4.0) -->\n",
        CARD.replace("datasets", "model-index:\n- name: x\n  license: cc-by-nc-4.0\ndatasets"),
        CARD + "\n<!-- SPDX-License-Identifier: CC-BY-NC-4.0 -->\n",
        CARD.replace("datasets", "licence: cc-by-nc-4.0\ndatasets"),
        CARD.replace("datasets", "license_name: cc-by-nc-4.0\ndatasets"),
        CARD.replace("datasets", "license_link: https://creativecommons.org/licenses/by-nc/4.0\ndatasets"),
        CARD.replace("datasets", "licenses: [apache-2.0, cc-by-nc-4.0]\ndatasets"),
    ],
)
def test_another_word_in_the_card(card):
    found = _seen(card)
    assert found.status is Status.FAILED
    assert "says otherwise" in str(found.reason)
    assert "settle it" in _grant(card)


@pytest.mark.parametrize(
    "path",
    [
        "LICENSE",
        "LICENCE.txt",
        "docs/LICENSE.md",
        "UNLICENSE",
        "COPYING",
        "Terms.txt",
        "EULA",
        "MODEL_LICENSE",
        "Llama-2-license.txt",
        "LICENSE (1).txt",
        "LICENCIA",
        "LICENSES/CC-BY-NC-4.0.txt",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_a_text_in_any_folder_and_encoding(path, encoding):
    text = "Creative Commons Attribution-NonCommercial 4.0 International Public License. " + "words " * 30
    found = _seen(**{path: text.encode(encoding)})
    assert found.status is Status.FAILED
    assert path in str(found.reason)


@pytest.mark.parametrize(
    "text",
    [
        b"https://creativecommons.org/licenses/by-nc/4.0/",
        b"See our website for terms.",
        b"\xff\xfe" + "Non-commercial".encode("utf-16-le"),
        b"Licensed under CC-BY-NC 4.0",
        b"x" * 300_000,
    ],
)
def test_a_file_that_is_not_positively_the_declared_licence(text):
    assert _seen(LICENSE=text).status is Status.FAILED


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("metadata.json", b'{"license": "cc-by-nc-4.0"}'),
        ("notes.txt", "SPDX-License-Identifier: CC-BY-NC-4.0".encode("utf-16")),
        ("metadata.json", b'[{"model": {"license": "cc-by-nc-4.0"}}]'),
        ("CITATION.cff", b"license: CC-BY-NC-4.0\n"),
        ("README_zh.md", b"---\nlicense: cc-by-nc-4.0\n---\n"),
        ("docs/MODEL_CARD.md", b"License: CC BY-NC 4.0\n"),
        ("model.yaml", b"licence: cc-by-nc-4.0\n"),
        ("train.py", b"# SPDX-License-Identifier: CC-BY-NC-4.0\n"),
    ],
)
def test_another_word_in_another_file(path, body):
    assert _seen(**{path: body}).status is Status.FAILED


@pytest.mark.parametrize(
    ("card", "files"),
    [
        (CARD + "\nLicense: Apache-2.0\n", {}),
        (CARD + "\n## License\n\nSee the LICENSE file.\n", {}),
        (CARD + "\n- **License:** [More Information Needed]\n", {}),
        (CARD.replace("datasets", "license_link: LICENSE\ndatasets"), {}),
        (CARD.replace("datasets", "license_link: https://www.apache.org/licenses/LICENSE-2.0\ndatasets"), {}),
        (CARD + "\nThis model is released under the Apache License 2.0.\n", {}),
        (CARD + "\nThe base model is licensed under the Llama 3 licence; data is under CC BY-NC 4.0.\n", {}),
        (CARD + "\nWe trained this model on data released under CC BY-NC 4.0.\n", {}),
        (CARD, {"x.py": b"# SPDX-License-Identifier: Apache-2.0 OR MIT\n"}),
        (CARD, {"metadata.json": b'{"base_model": {"license": "llama3"}, "model": {"license": "apache-2.0"}}'}),
        (CARD, {"LICENSES/Apache-2.0.txt": b"Licensed under https://www.apache.org/licenses/LICENSE-2.0"}),
        (CARD, {"NOTICE": b"Parts are under CC-BY-NC-4.0"}),
        (CARD, {"metadata.json": b'{"license": "Apache-2.0"}', "x.py": b"# SPDX-License-Identifier: Apache-2.0\n"}),
        (CARD, {"LICENSE": b"Licensed under https://www.apache.org/licenses/LICENSE-2.0"}),
        (CARD + "\nThe base's data is cc-by-nc in parts; see its card.\n", {}),
    ],
)
def test_what_says_the_same_or_nothing_changes_nothing(card, files):
    assert _seen(card, **files).value == "apache-2.0"


def test_a_licence_that_the_table_has_no_text_of_is_not_doubted_for_that():
    assert "bsl-1.0" not in text_table().texts
    card = CARD.replace("apache-2.0", "bsl-1.0")
    assert _seen(card, LICENSE=b"Boost Software License - Version 1.0").value == "bsl-1.0"


def test_a_clause_beside_the_declared_licence_s_text():
    text = "Licensed under https://www.apache.org/licenses/LICENSE-2.0"
    assert "adds to apache-2.0" in str(_seen(LICENSE=f"{text} for non-commercial use only".encode()).reason)
    assert _seen(LICENSE=text.encode()).value == "apache-2.0"
