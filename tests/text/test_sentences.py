import gzip
import textwrap
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencex import segment

from bertjax.text.python_docs import documents
from bertjax.text.sentences import choose_mode, split_sentences

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"

ENGLISH = [
    "BERT was released in Oct. 2018 by Mr. Devlin et al. of Google.",
    "It reads text from both sides, e.g. left and right.",
    "Does it work?",
    'Yes, "very well!"',
]
KOREAN = [
    "슈어 스타트는 영국의 아동 보육 프로젝트이다.",
    "1997년부터 논의되어 왔으며 값은 3.14배로 늘었다.",
    '그는 "안녕하세요. 반갑습니다."라고 말했다.',
    "교육․기술부와 노동․연금부가 함께 한다.",
]


@pytest.mark.parametrize("sentences", [ENGLISH, KOREAN], ids=["english", "korean"])
def test_a_paragraph_is_split_into_its_sentences(sentences):
    assert list(split_sentences([" ".join(sentences)])) == sentences


def test_each_line_is_a_paragraph_of_its_own():
    assert list(split_sentences(["One here. Two", "three."])) == ["One here.", "Two", "three."]


def test_scripts_without_spaces_are_split():
    assert list(split_sentences(["这是一本书。那是笔！"])) == ["这是一本书。", "那是笔！"]


@pytest.mark.parametrize(
    "sentences",
    [
        ["他说：「今天很好。我们走吧。」", "大家都同意了。"],
        ['他说"今天很好。我们走吧。"', "大家都同意了。"],
        ["大家都同意？！"],
    ],
)
def test_the_library_never_sees_more_of_them_than_it_takes_well(sentences, monkeypatch):
    shown = []

    def watched(language, text):
        shown.append(text)
        return segment(language, text)

    monkeypatch.setattr("bertjax.text.sentences.segment", watched)
    assert list(split_sentences(["".join(sentences) * 2000])) == sentences * 2000
    assert max(map(len, shown)) < 5000


def test_a_bracket_that_never_closes_does_not_make_the_library_see_all(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "bertjax.text.sentences.segment", lambda _, text: (shown.append(text), [text])[1]
    )
    list(split_sentences(["「" + "他说好。" * 20_000]))
    assert max(map(len, shown)) < 9000


def test_lines_broken_at_a_fixed_width_are_joined_first():
    sentences = [f"{text[:-1]}, which is more than fits in one line." for text in ENGLISH[:2]] * 3
    assert list(split_sentences(textwrap.wrap(" ".join(sentences), 60))) == sentences


def test_a_quotation_that_never_closes_does_not_swallow_the_page():
    page = [f"Sentence {number} says something of no great weight." for number in range(40)]
    longest = max(map(len, split_sentences(['He said "' + " ".join(page)])))
    assert longest < 100


@pytest.mark.parametrize("space", "\u00a0\u0085\u2009\u2028\u202f\u3000")
def test_a_letter_some_white_space_and_a_full_stop_are_text(space):
    sentences = [f"Go by plan B{space}.", "Then rest."]
    assert list(split_sentences([" ".join(sentences)])) == sentences


@given(st.text(max_size=600) | st.text(alphabet="A\u00a0\u3000. b", max_size=60))
def test_nothing_but_white_space_is_lost(text):
    sentences = list(split_sentences([text]))
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize("sentences", [ENGLISH, KOREAN], ids=["english", "korean"])
def test_one_sentence_per_line_is_taken_as_it_is(sentences):
    assert choose_mode(sentences * 10) == "lines"


@pytest.mark.parametrize("sentences", [ENGLISH, KOREAN], ids=["english", "korean"])
def test_paragraphs_are_to_be_split(sentences):
    assert choose_mode([" ".join(sentences)] * 10) == "split"


def test_lines_broken_at_a_fixed_width_are_to_be_split():
    assert choose_mode(textwrap.wrap(" ".join(ENGLISH * 9), 60)) == "split"


@pytest.mark.parametrize("lines", [[], [""], ["one"]])
def test_too_little_to_tell_is_taken_as_it_is(lines):
    assert choose_mode(lines) == "lines"


def test_python_docs_are_to_be_split():
    paragraphs = [line for text in islice(documents(), 20) for line in text.split("\n")]
    assert choose_mode(paragraphs) == "split"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not there")
@pytest.mark.parametrize("name", ["en_wiki", "ko_wiki", "en_books"])
def test_corpora_of_one_sentence_per_line(name):
    with gzip.open(CORPUS / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in islice(file, 1000)]
    assert choose_mode(lines) == "lines"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpora are not there")
@pytest.mark.parametrize("name", ["en_wiki", "ko_wiki"])
def test_sentences_of_running_text_are_found_again(name):
    with gzip.open(CORPUS / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        sentences = [line.strip() for line in islice(file, 3000) if line.strip()]
    found = list(split_sentences([" ".join(sentences)]))
    correct = len(set(found) & set(sentences))
    assert correct > 0.92 * len(sentences)
    assert correct > 0.92 * len(found)
