import gzip
import json
import unicodedata
from pathlib import Path

import pytest

from bertjax.errors import UserError
from bertjax.tasks.squad_files import BLANK, MOVED, NOT_FOUND, Answer, read_questions
from bertjax.tasks.task import Notes
from tests.tasks.squad import answered, unanswered, write_squad

CONTEXT = "Ada met Babbage. Ada wrote notes."
TASKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks"


def read(file, labelled=True, unanswerable=False):
    """The questions and what was noted."""
    notes = Notes()
    return list(read_questions(file, labelled, unanswerable, notes)), notes


def only_answer(tmp_path, *answers):
    """The answers that are read for the only question of a file, and what was noted."""
    file = write_squad(tmp_path / "a.json", (CONTEXT, [answered("a", "who?", *answers)]))
    (question,), notes = read(file)
    return question.answers, notes


def refused(file, **options):
    """The message, without the name of the file in front."""
    with pytest.raises(UserError) as caught:
        read(file, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_questions_come_in_order_with_their_context_and_answers(tmp_path):
    first = answered("a", "who met?", ("Ada", 0), ("Ada met", 0))
    file = write_squad(
        tmp_path / "a.json", (CONTEXT, [first, answered(7, "what?", ("notes", 27))]), ("x", [])
    )
    (one, two), notes = read(file)
    assert (one.row, one.id, one.text, one.context) == (1, "a", "who met?", CONTEXT)
    assert one.answers == (Answer("Ada", (0, 3)), Answer("Ada met", (0, 7)))
    assert (two.row, two.id, two.answers) == (2, "7", (Answer("notes", (27, 32)),))
    assert one.context is two.context
    assert not notes.counts


def test_a_question_a_line_is_read_as_the_same_questions(tmp_path):
    questions = [answered("a", "who?", ("Ada", 0), ("Ada met", 0)), answered("b", "what?")]
    nested = write_squad(tmp_path / "a.json", (CONTEXT, questions))
    lines = [
        {"context": CONTEXT, "id": "a", "question": "who?", "title": "t"}
        | {"answers": {"text": ["Ada", "Ada met"], "answer_start": [0, 0]}},
        {"context": CONTEXT, "id": "b", "question": "what?"}
        | {"answers": {"text": [], "answer_start": []}},
    ]
    flat = tmp_path / "a.jsonl.gz"
    flat.write_bytes(gzip.compress("\n\n".join(map(json.dumps, lines)).encode()))
    assert read(flat, unanswerable=True)[0] == read(nested, unanswerable=True)[0]
    one, two = read(flat, unanswerable=True)[0]
    assert one.context is two.context


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: expected a JSON object with 'context'"),
        ('{"context": "c", "id": "a"}', "line 2: 'question' is missing"),
        (
            '{"context": "c", "id": "a", "question": "q", "answers": '
            '{"text": ["c"], "answer_start": []}}',
            "line 2: answers: as many texts as starts",
        ),
    ],
)
def test_what_is_wrong_in_a_line_is_told_with_its_number(tmp_path, line, message):
    file = tmp_path / "a.jsonl"
    file.write_text(f"\n{line}\n")
    assert refused(file).startswith(message)


def test_a_file_to_predict_needs_no_answers(tmp_path):
    file = write_squad(tmp_path / "a.json", (CONTEXT, [{"id": "a", "question": "who?"}]))
    (question,), _ = read(file, labelled=False)
    assert question.answers is None


def test_a_compressed_file_with_a_byte_order_mark_is_read(tmp_path):
    plain = write_squad(tmp_path / "a.json", (CONTEXT, [answered("a", "who?", ("Ada", 0))]))
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))
    assert read(packed) == read(plain)


@pytest.mark.parametrize(("offset", "found"), [(2, 0), (15, 17), (-1, 0), (999, 17)])
def test_an_answer_that_is_not_at_its_offset_is_the_nearest_occurrence(tmp_path, offset, found):
    answers, notes = only_answer(tmp_path, ("Ada", offset))
    assert answers == (Answer("Ada", (found, found + 3)),)
    assert notes.counts == {MOVED: 1}


def test_spaces_around_an_answer_are_no_part_of_its_place(tmp_path):
    answers, notes = only_answer(tmp_path, (" met ", 3))
    assert answers == (Answer(" met ", (4, 7)),)
    assert not notes.counts


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("대한민국의 수도는 서울이다.", unicodedata.normalize("NFD", "서울")),
        (unicodedata.normalize("NFD", "대한민국의 수도는 서울이다."), "서울"),
        ("the big \n cat", "big cat"),
    ],
)
def test_an_answer_in_another_normal_form_or_spacing_is_the_contexts_own(tmp_path, context, answer):
    question = {"id": "1", "question": "?", "answers": [{"text": answer, "answer_start": 0}]}
    content = {"data": [{"paragraphs": [{"context": context, "qas": [question]}]}]}
    file, notes = tmp_path / "a.json", Notes()
    file.write_text(json.dumps(content))
    (read_back,) = read_questions(file, True, False, notes)
    ((text, span),) = read_back.answers
    assert context[slice(*span)] == text
    assert unicodedata.normalize("NFC", " ".join(text.split())) in ("서울", "big cat")
    assert notes.counts == {MOVED: 1}


def test_an_answer_that_is_nowhere_is_kept_for_scoring_and_counted(tmp_path):
    answers, notes = only_answer(tmp_path, ("Lovelace", 0), ("Ada", 0))
    assert answers == (Answer("Lovelace", None), Answer("Ada", (0, 3)))
    assert notes.counts == {NOT_FOUND: 1}
    assert notes.first == {NOT_FOUND: "question 1 (a)"}


def test_an_answer_without_a_text_is_left_out_and_counted(tmp_path):
    answers, notes = only_answer(tmp_path, (" ", 3), ("Ada", 0))
    assert answers == (Answer("Ada", (0, 3)),)
    assert notes.first == {BLANK: "question 1 (a)"}


def test_questions_may_be_unanswerable_where_the_task_says_so(tmp_path):
    marked = answered("b", "?", ("Ada", 0)) | {"is_impossible": True}
    questions = [unanswered("a", "who?"), marked, answered("c", "?")]
    file = write_squad(tmp_path / "a.json", (CONTEXT, questions))
    assert [question.answers for question in read(file, unanswerable=True)[0]] == [(), (), ()]
    assert refused(file) == (
        "data[0].paragraphs[0].qas[0]: the question has no answer; "
        "such a file takes a run fine-tuned with --task.unanswerable=true"
    )


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data", None, "'data' is missing; expected the layout of SQuAD's files"),
        ("data", {}, "'data' must be a list"),
        ("data", [], "no question in it"),
        ("data.0", 3, "data[0]: expected a JSON object with 'paragraphs', as in SQuAD's files"),
        ("data.0.paragraphs.0.context", None, "data[0].paragraphs[0]: 'context' is missing; "),
        ("data.0.paragraphs.0.qas.0", "x", "data[0].paragraphs[0].qas[0]: expected a JSON object"),
        ("data.0.paragraphs.0.qas.0.id", None, "data[0].paragraphs[0].qas[0]: 'id' is missing; "),
        ("data.0.paragraphs.0.qas.0.question", 1, "qas[0]: 'question' must be a text"),
        ("data.0.paragraphs.0.qas.0.answers", None, "qas[0]: 'answers' is missing; "),
        ("data.0.paragraphs.0.qas.0.answers.0.text", None, "answers[0]: 'text' is missing; "),
        (
            "data.0.paragraphs.0.qas.0.answers.0.answer_start",
            "0",
            "data[0].paragraphs[0].qas[0].answers[0]: 'answer_start' must be a whole number",
        ),
        ("data.0.paragraphs.0.qas.0.is_impossible", "no", "'is_impossible' must be true or false"),
    ],
)
def test_what_is_missing_or_of_another_type_is_told_with_its_place(tmp_path, path, value, message):
    file = write_squad(tmp_path / "a.json", (CONTEXT, [answered("a", "who?", ("Ada", 0))]))
    content = json.loads(file.read_text())
    *folders, name = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = content
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[name]
    else:
        place[name] = value
    file.write_text(json.dumps(content))
    assert message in refused(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"[1]", "expected a JSON object with 'data', as in SQuAD's files"),
        (b'{"data":\n  [}', "line 2: not valid JSON (Expecting value near '"),
        (b"[" * 100_000, "not valid JSON (nested too deeply)"),
        (b'{"data": "\xff"}', "not UTF-8 text (bad byte 0xff at offset 10); convert it"),
    ],
)
def test_what_is_no_json_or_no_text_is_told_in_one_line(tmp_path, content, message):
    file = tmp_path / "a.json"
    file.write_bytes(content)
    assert message in refused(file)


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path):
    assert refused(tmp_path / "b.json") == "cannot be read (No such file or directory)"


@pytest.mark.skipif(not TASKS.is_dir(), reason="the tasks' data is not there")
@pytest.mark.parametrize(
    ("name", "questions", "unanswerable"),
    [
        ("korquad/train", 3439, 0),
        ("korquad/dev", 1062, 0),
        ("squad_en/train", 7377, 0),
        ("squad_en/dev", 1702, 0),
        ("squad2_en/train", 7930, 3904),
        ("squad2_en/dev", 2145, 1027),
    ],
)
def test_real_files_hold_what_their_readme_says(name, questions, unanswerable):
    found, notes = read(TASKS / f"{name}.json", unanswerable=unanswerable > 0)
    assert len(found) == questions
    assert sum(not question.answers for question in found) == unanswerable
    assert not notes.counts
