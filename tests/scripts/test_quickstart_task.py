"""The quickstart's labelled task: names of code, as authors of documentation marked them."""

import json

import pytest

from bertjax.config import Tagging
from bertjax.tasks.tag_files import read_sentences
from bertjax.tasks.task import Notes
from scripts.quickstart_report import tell_names
from scripts.quickstart_task import DEV, TRAIN, labelled_lines, main, marked

DOCUMENTATION = r"""Adds what is in the `values` along one axis.

    The result is a ``float64`` array, see :func:`~arrays.total` and :class:`Array` for that.
    It is not the same as an array that was made by somebody else. This is the sum of a\ `vector`.

    >>> total(`values`)
    """


def test_the_sentences_with_names_in_backquotes_are_found_and_the_names_marked():
    assert list(marked(DOCUMENTATION)) == [
        "Adds what is in the Zqvalues along one axis.",
        "The result is a Zqfloat64 array, see arrays.total and ZqArray for that.",
    ]


def test_words_and_marks_stand_on_lines_of_their_own_with_their_labels():
    assert labelled_lines("Give Zqaxis, or None.") == (
        "Give\tO\naxis\tB-name\n,\tO\nor\tO\nNone\tO\n.\tO\n"
    )


@pytest.mark.slow
def test_the_files_are_those_of_a_tagging_task_and_share_no_sentence(tmp_path):
    main(tmp_path)
    found = {}
    for name, count in (("train", TRAIN), ("dev", DEV)):
        sentences = list(read_sentences(tmp_path / f"{name}.conll", Tagging(), True, Notes()))
        assert len(sentences) == count
        assert all({"B-name"} <= set(each.labels) <= {"O", "B-name"} for each in sentences)
        found[name] = {each.tokens for each in sentences}
    assert not found["train"] & found["dev"]


def test_the_report_shows_what_pretraining_was_worth(tmp_path, capsys):
    for start, f1 in (("pretrained", 0.7), ("scratch", 0.4)):
        folder = tmp_path / f"run-names-{start}"
        folder.mkdir()
        records = {"train": {"records": 300}, "dev": {"records": 500}}
        (folder / "report.json").write_text(json.dumps({"figures": {"f1": f1}} | records))
    tell_names(tmp_path / "run")
    assert "pretrained 0.700, the same model from scratch 0.400" in capsys.readouterr().out


def test_without_the_labelled_task_the_report_is_silent_about_it(tmp_path, capsys):
    tell_names(tmp_path / "run")
    assert capsys.readouterr().out == ""
