"""The quickstart's labelled task: which package a paragraph of documentation is about."""

import json
from collections import Counter

import pytest

from bertjax.tasks.table_files import read_table
from scripts.quickstart_report import tell_packages
from scripts.quickstart_task import DEV, PACKAGES, TRAIN, main, package_of


@pytest.mark.parametrize(
    ("document", "package"),
    [
        ("python.email.message", "email"),
        ("python.email", "email"),
        ("python.emailing", None),
        ("python.turtle", None),
        ("numpy.email", None),
        ("topics.email", None),
    ],
)
def test_a_document_belongs_to_the_package_of_the_standard_library_that_it_lies_in(
    document, package
):
    assert package_of(document) == package


@pytest.mark.slow
def test_the_files_hold_as_many_paragraphs_of_each_package_and_share_none(tmp_path):
    main(tmp_path)
    texts = {}
    for split, count in (("train", TRAIN), ("dev", DEV)):
        table = read_table(tmp_path / f"{split}.tsv", {"text": "text", "label": "package"})
        rows = [row.values for row in table]
        found = Counter(row["label"] for row in rows)
        assert set(found) >= {*PACKAGES} - {"tkinter"}  # some systems leave it out of Python
        assert set(found.values()) == {count}
        texts[split] = {row["text"] for row in rows}
    assert not texts["train"] & texts["dev"]


def test_the_report_shows_what_pretraining_was_worth(tmp_path, capsys):
    for start, accuracy in (("pretrained", 0.7), ("scratch", 0.4)):
        folder = tmp_path / f"run-packages-{start}"
        folder.mkdir()
        records = {"train": {"records": 160}, "dev": {"records": 800}}
        report = {"figures": {"accuracy": accuracy}} | records
        (folder / "report.json").write_text(json.dumps(report))
    tell_packages(tmp_path / "run")
    assert "pretrained 0.700, the same model from scratch 0.400" in capsys.readouterr().out


def test_without_the_labelled_task_the_report_is_silent_about_it(tmp_path, capsys):
    tell_packages(tmp_path / "run")
    assert capsys.readouterr().out == ""
