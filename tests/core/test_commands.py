import shlex

import typer
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.cli.main import app
from peft_assay.core.commands import PLACE, TAKEN, command, with_options

SAID = {"--context": "my project", "--workspace": "w", "--trust": "t"}


def commands(group, words=()):
    """Every command of the command line with the options that it takes."""
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*words, name))
        else:
            yield " ".join((*words, name)), {option for each in one.params for option in each.opts}


def test_the_table_of_what_is_taken_is_the_command_line_s():
    found = dict(commands(typer.main.get_command(app)))
    assert {name for name, options in found.items() if options & set(PLACE)} == set(TAKEN)
    for name, taken in TAKEN.items():
        assert set(taken) == found[name] & set(PLACE), name


def test_the_next_command_is_told_what_this_one_was_told():
    assert with_options("look: peft-assay verify SOURCE", SAID) == (
        "look: peft-assay verify --context 'my project' --workspace w --trust t SOURCE"
    )
    assert with_options("peft-assay policy lint FILE", SAID) == "peft-assay policy lint --context 'my project' FILE"
    assert with_options("peft-assay rights show x", {"--trust": "t"}) == "peft-assay rights show --trust t x"
    assert command("waive", "an adapter", {"--trust": "t"}) == "peft-assay waive --trust t 'an adapter'"


def test_what_takes_none_or_says_its_own_stays_as_it_is():
    for step in ("peft-assay inspect x", "buy a disk", "peft-assay --help", "apt install bubblewrap", ""):
        assert with_options(step, SAID) == step
    assert with_options("peft-assay verify --trust k x", {"--trust": "t"}) == "peft-assay verify --trust k x"
    assert with_options("peft-assay verify x", {}) == "peft-assay verify x"


@given(st.dictionaries(st.sampled_from(PLACE), st.text(min_size=1)))
def test_any_folder_comes_back_out_of_a_shell(said):
    words = shlex.split(with_options("peft-assay revoke --refresh", said))
    assert words == ["peft-assay", "revoke", *(word for pair in said.items() for word in pair), "--refresh"]
