"""A report as text and as Markdown: what it shows, and how it is set."""

import json

from bertjax.tasks.report_table import report_markdown, report_tables, report_text

REPORT = {
    "task": "classification",
    "metric": "f1",
    "steps": 1327,
    "train": {
        "file": "train.tsv",
        "records": 3488,
        "notes": {"rows cut to 128 tokens": 3},
        "first_places": {"rows cut to 128 tokens": "row 7"},
    },
    "dev": {"file": "dev.tsv", "records": 905, "notes": {}},
    "figures": {"accuracy": 0.98765, "exact_match": 81.23456, "loss": None},
    "details": {
        "classes": [
            {"label": "ham", "training_rows": 3016, "f1": 0.99},
            {"label": "스팸", "training_rows": 47, "f1": 1.0},
        ],
        "commonest_label": {"label": "ham", "accuracy": 0.88},
        "confusion": {"labels": ["ham", "스팸"], "counts": [[790, 8], [2, 105]]},
        "errors": [
            {"row": 5, "label": "스팸", "missed": ["a", "b"], "text": "a long text | " * 10},
            {"row": 7, "label": "ham", "missed": [], "text": "two\nlines"},
        ],
    },
}


def block(text, title):
    """The lines under a title."""
    return text.split(f"{title}\n")[1].split("\n\n")[0].splitlines()


def test_columns_are_aligned_numbers_to_the_right_and_wide_characters_counted():
    assert block(report_text(REPORT), "classes") == [
        "  label  training rows      f1",
        "  ham            3,016  0.9900",
        "  스팸              47  1.0000",
    ]


def test_figures_of_any_size_are_readable():
    assert block(report_text(REPORT), "figures") == [
        "  figure        value",
        "  accuracy     0.9877",
        "  exact_match   81.23",
        "  loss              -",
    ]


def test_the_confusion_matrix_has_true_labels_down():
    assert block(report_text(REPORT), "confusion: true labels down, predicted across") == [
        "        ham  스팸",
        "  ham   790     8",
        "  스팸    2   105",
    ]


def test_of_many_labels_the_commonest_confusions_are_shown():
    labels = [f"label {number}" for number in range(30)]
    counts = [[int(row == column) * 9 for column in range(30)] for row in range(30)]
    counts[3][4], counts[8][1] = 2, 7
    tables = report_tables(
        REPORT | {"details": {"confusion": {"labels": labels, "counts": counts}}}
    )
    assert tables[-1].rows == [("label 8", "label 1", "7"), ("label 3", "label 4", "2")]


def test_a_table_without_rows_is_left_out():
    tables = report_tables(REPORT | {"details": {"errors": []}})
    assert [table.title for table in tables] == ["run", "figures", "repaired or left out"]


def test_what_was_repaired_is_told_with_its_file():
    assert block(report_text(REPORT), "repaired or left out") == [
        "  file   what                    count  first",
        "  train  rows cut to 128 tokens      3  row 7",
    ]
    nothing = REPORT | {"train": REPORT["train"] | {"notes": {}}}
    assert "repaired" not in report_text(nothing)


def test_long_values_stand_on_lines_of_their_own():
    assert block(report_text(REPORT), "errors") == [
        "  row 5, label 스팸, missed a; b",
        "    text: " + ("a long text | " * 10).strip(),
        "  row 7, label ham, missed -",
        "    text: two lines",
    ]


def test_a_few_of_many_mistakes_are_shown():
    errors = [{"row": row, "text": "long " * 20} for row in range(20)]
    (*_, table) = report_tables(REPORT | {"details": {"errors": errors}})
    assert [row[0] for row in table.rows] == ["0", "1", "2", "3", "4"]


def test_markdown_to_be_passed_on_has_no_samples_of_the_data():
    assert "a long text" in report_text(REPORT)
    assert "a long text" not in report_markdown(REPORT)


def test_several_seeds_are_shown_beside_their_mean_and_deviation():
    seeds = {
        "seed": 1,
        "seeds": {"0": {"accuracy": 0.9}, "1": {"accuracy": 0.98765}},
        "mean": {"accuracy": 0.943825},
        "standard_deviation": {"accuracy": 0.062},
    }
    lines = block(report_text(REPORT | seeds), "figures")
    assert lines[0].split() == [
        "figure",
        "best",
        "mean",
        "standard",
        "deviation",
        "seed",
        "0",
        "seed",
        "1",
    ]
    assert lines[1].split() == ["accuracy", "0.9877", "0.9438", "0.0620", "0.9000", "0.9877"]


def test_markdown_tables_keep_their_columns_whatever_a_cell_holds():
    report = REPORT | {"details": {"classes": [{"label": "a|b", "rows": 3}]}}
    assert report_markdown(report).split("### classes\n\n")[1].splitlines() == [
        "| label | rows |",
        "| --- | ---: |",
        r"| a\|b | 3 |",
    ]


def test_a_report_read_back_from_json_looks_the_same():
    assert report_text(json.loads(json.dumps(REPORT))) == report_text(REPORT)
