"""Answers come back as the characters of the context, whatever the tokenizer makes of them."""

import dataclasses
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bertjax.config import QuestionAnswering, load_config
from bertjax.tasks.context_windows import most_context, token_range, windows_of
from bertjax.tasks.question_answering import question_answering_task
from bertjax.tasks.squad_files import Answer, Question, read_questions
from bertjax.tasks.task import Notes, TextInputs
from bertjax.text.tokenizer import load_tokenizer, train_sentencepiece, train_wordpiece
from tests.text.hard_cases import google_vocabulary, write_vocabulary

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "finetune"
TASKS = Path(__file__).resolve().parents[3] / "shared" / "data" / "tasks"
LINES = [
    "서울은 대한민국의 수도이다. 한강이 서울을 지나 서해로 흐른다.",
    "1988년에 서울에서 올림픽이 열렸고, 2018년에는 평창에서 열렸다.",
    "The capital of France is Paris (since 987), said Café’s naïve owner.",
    "Emoji 🙂 and 👧 stand in texts; co-operation costs $5 or 3.14€.",
    *(
        stem + end
        for stem in ("나라", "서울", "한강", "walk")
        for end in ("의", "는", "에서", "ed")
    ),
] * 3
CHUNKS = st.sampled_from(
    [
        *"aZ.,()'’-\t\n\u3000\u200b é한글가1🙂ﬁİ",
        *("e\u0301", "\u1112\u1161\u11ab", "👩\u200d👩\u200d👧", "  "),
        *("서울은", "대한민국의", "Paris", "Café", "[SEP]", "3.14€", "中文", "naïve"),
    ]
)
CONTEXTS = st.lists(CHUNKS, min_size=1, max_size=60).map("".join)
SETTINGS = QuestionAnswering(
    stride=7, max_question_tokens=4, max_answer_tokens=10, unanswerable=True
)
LENGTH = 27  # windows of 20 tokens or more


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """By name; all are fast to make."""
    google = write_vocabulary(tmp_path_factory.mktemp("google"), google_vocabulary(cased=False))
    return {
        "wordpiece": train_wordpiece(LINES, 200, cased=False),
        "cased wordpiece": train_wordpiece(LINES, 200, cased=True),
        "google": load_tokenizer(google),
        "unigram": train_sentencepiece(LINES, 100, cased=False),
        "cased bpe": train_sentencepiece(LINES, 120, cased=True, model_type="bpe"),
    }


NAMES = ("wordpiece", "cased wordpiece", "google", "unigram", "cased bpe")


def from_gold(task, question):
    """The answer that the task gives if the model is sure of the targets."""
    examples = task.examples(question)
    logits = [
        {"span_logits": 20.0 * np.stack([e.targets["is_start"], e.targets["is_end"]], axis=1)}
        for e in examples
    ]
    return task.predict(question, logits)


def lies_in_its_window(windows, first, last):
    """Whether the window that shows most around the first token holds the last one too."""
    most = most_context(windows.ranges)
    (own,) = (
        w for w, m in zip(windows.ranges, most, strict=True) if first in w and m[first - w.start]
    )
    return last in own


def marks_after(text, end):
    """Where the accents end that are written after a letter."""
    while end < len(text) and unicodedata.category(text[end]).startswith("M"):
        end += 1
    return end


@pytest.mark.parametrize("name", NAMES)
@given(context=CONTEXTS, data=st.data())
def test_an_answer_of_whole_tokens_comes_back_as_it_stands(tokenizers, name, context, data):
    tokenizer = tokenizers[name]
    task = question_answering_task(SETTINGS, TextInputs(tokenizer, LENGTH, 2))
    question = Question(1, "a", "서울 walk?", context, ())
    windows = windows_of(tokenizer, LENGTH, 7, 4)(question)
    spans = windows.context.spans
    real = np.flatnonzero(spans[:, 1] > spans[:, 0]).tolist()
    if not real:
        assert from_gold(task, question)["answer"] == ""
        return
    first = data.draw(st.sampled_from(real))
    last = data.draw(st.sampled_from([n for n in real if first <= n < first + 10]))
    assume(lies_in_its_window(windows, first, last))
    start, end = int(spans[first, 0]), marks_after(context, int(spans[last, 1]))
    inside = token_range(windows.context, (start, end))  # with all pieces of its first character
    assume(inside is not None and len(inside) <= SETTINGS.max_answer_tokens)
    text = context[start:end]
    question = dataclasses.replace(question, answers=(Answer(text, (start, end)),))
    found = from_gold(task, question)
    assert found["answer"] == text == found["nbest"][0]["text"]
    assert found["nbest"][0]["start"] == start
    assert text == text.strip()


@pytest.mark.parametrize("name", NAMES)
def test_no_token_of_a_context_begins_or_ends_in_white_space(tokenizers, name):
    context = "\u200b\ta  b\u3000\u200b\n"
    windows = windows_of(tokenizers[name], LENGTH, 7, 4)(Question(1, "a", "?", context, ()))
    texts = [context[start:end] for start, end in windows.context.spans]
    assert [text.strip() for text in texts] == texts


@pytest.mark.parametrize("name", NAMES)
@given(context=CONTEXTS, data=st.data())
def test_any_characters_come_back_with_the_rest_of_their_tokens(tokenizers, name, context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, min(start + 6, len(context))))
    tokenizer = tokenizers[name]
    question = Question(1, "a", "?", context, (Answer(context[start:end], (start, end)),))
    inputs = windows_of(tokenizer, LENGTH, 7, 4)(question)
    tokens = token_range(inputs.context, (start, end))
    assume(tokens and len(tokens) <= 10 and lies_in_its_window(inputs, tokens[0], tokens[-1]))
    task = question_answering_task(SETTINGS, TextInputs(tokenizer, LENGTH, 2))
    found = from_gold(task, question)
    place = found["nbest"][0]["start"]
    assert context.startswith(found["answer"], place)
    kept = {n for n in range(start, end) if any(a <= n < b for a, b in inputs.context.spans)}
    assert kept <= set(range(place, place + len(found["answer"])))


PARTICLES = [("서울은 수도이다.", "서울"), ("한강이 서울을 지나", "서울"), ("나라의 말", "나라")]


def gold_of(tokenizer, context, expected, **settings):
    """The answer that the task gives for these characters."""
    start = context.index(expected)
    answers = (Answer(expected, (start, start + len(expected))),)
    task = question_answering_task(
        dataclasses.replace(SETTINGS, **settings), TextInputs(tokenizer, LENGTH, 2)
    )
    return from_gold(task, Question(1, "a", "?", context, answers))["answer"]


@pytest.mark.parametrize("name", ["wordpiece", "unigram"])
@pytest.mark.parametrize(("context", "expected"), PARTICLES)
def test_a_particle_in_a_piece_of_its_own_is_no_part_of_the_answer(
    tokenizers, name, context, expected
):
    assert gold_of(tokenizers[name], context, expected) == expected


@pytest.mark.parametrize(("context", "expected"), PARTICLES)
def test_a_particle_in_one_piece_with_its_word_is_left_out(context, expected):
    tokenizer = train_wordpiece([context for context, _ in PARTICLES] * 3, 200, cased=False)
    word = next(word for word in context.split() if word.startswith(expected))
    assert gold_of(tokenizer, context, expected) == word
    assert gold_of(tokenizer, context, expected, particles=("은", "을", "의")) == expected


def ceiling(task, file):
    """The scores that a model reaches which is sure of every target, and how many questions."""
    questions = list(task.read(file, True, Notes()))
    predictions = [from_gold(task, question) for question in questions]
    return task.score(questions, predictions), len(questions)


@pytest.mark.slow
@pytest.mark.skipif(not TASKS.is_dir(), reason="the tasks' data is not there")
@pytest.mark.parametrize("length", [128, 384])
@pytest.mark.parametrize("name", ["squad_en", "squad2_en", "korquad"])
def test_gold_answers_of_real_files_are_recovered(name, length):
    settings = load_config(CONFIGS / (name.removesuffix("_en") + ".py")).task
    train = TASKS / name / "train.json"
    questions = read_questions(train, True, settings.unanswerable, Notes())
    lines = {question.context: None for question in questions}
    make = train_sentencepiece if name == "korquad" else train_wordpiece
    task = question_answering_task(settings, TextInputs(make(lines, 8000, cased=False), length, 2))
    scores, count = ceiling(task, TASKS / name / "dev.json")
    print(f"{name}, length {length}: {count} questions, {scores}")
    assert scores["exact_match"] > 98
    assert scores["f1"] > 99
