"""The published rules, case by case: SQuAD 1.1 and 2.0 compare words, KorQuAD characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjax.tasks.squad_scores import exact_match, f1, normalize
from tests.tasks.squad_reference import scores

ONE = {"rules": "squad", "unanswerable": False}
TWO = {"rules": "squad", "unanswerable": True}
KOREAN = {"rules": "korquad", "unanswerable": False}
EVERY = (ONE, TWO, KOREAN)
TEXTS = st.text(st.sampled_from("aAn the '\"().,-《》‘’가나 다라\u3000é!"), max_size=20)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("The  Answer!", "answer"),
        ("an apple a day, the end", "apple day end"),
        ("Theatre", "theatre"),  # whole words alone are articles
        ("U.S.A.", "usa"),  # punctuation goes without leaving a space
        ("well-known", "wellknown"),
        ("a.b the-end", "ab theend"),  # articles go after punctuation
        ("“quoted” – text…", "“quoted” – text…"),  # only ASCII punctuation
        ("1,000\t\u3000times", "1000 times"),
        ("É a È", "é è"),
    ],
)
def test_squad_drops_case_ascii_punctuation_articles_and_extra_spaces(text, kept):
    assert normalize(text, "squad") == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("《대한민국》의 수도", "대한민국 의 수도"),  # brackets become a space
        ("1988년(쇼와 63년)", "1988년 쇼와 63년"),
        ("‘한강’ <서울> 〈부산〉", "한강 서울 부산"),
        ("“서울”", "“서울”"),  # these quotation marks stay
        ("U.S.A.", "usa"),
        ("The A an", "the a an"),  # no articles in Korean
        ("1,000 명", "1000 명"),
    ],
)
def test_korquad_puts_spaces_for_brackets_and_keeps_articles(text, kept):
    assert normalize(text, "korquad") == kept


def test_the_best_of_the_expected_answers_counts():
    expected = ["in Paris", "Paris", "the city of Paris"]
    assert exact_match("paris.", expected, **ONE) == 1
    assert f1("paris.", expected, **ONE) == 1
    assert exact_match("of Paris", expected, **ONE) == 0
    assert f1("of Paris", expected, **ONE) == pytest.approx(2 * (2 / 2 * 2 / 3) / (2 / 2 + 2 / 3))


def test_squads_f1_counts_each_word_as_often_as_it_occurs_in_both():
    assert f1("b b c", ["b c c c"], **ONE) == pytest.approx(2 * (2 / 3 * 2 / 4) / (2 / 3 + 2 / 4))
    assert f1("c b", ["b c"], **ONE) == 1
    assert exact_match("c b", ["b c"], **ONE) == 0
    assert f1("d", ["b c"], **ONE) == 0


def test_korquads_f1_compares_characters_other_than_spaces():
    assert f1("서울특별시", ["서울"], **KOREAN) == pytest.approx(2 * (2 / 5 * 1) / (2 / 5 + 1))
    assert f1("서울에서", ["서울 에서"], **KOREAN) == 1
    assert exact_match("서울에서", ["서울 에서"], **KOREAN) == 0
    assert f1("서울", ["부산"], **KOREAN) == 0


def test_no_answer_is_right_exactly_where_squad_2_expects_none():
    assert (exact_match("", [], **TWO), f1("", [], **TWO)) == (1, 1)
    assert (exact_match("Paris", [], **TWO), f1("Paris", [], **TWO)) == (0, 0)
    assert (exact_match("", ["Paris"], **TWO), f1("", ["Paris"], **TWO)) == (0, 0)


def test_an_expected_answer_of_which_nothing_counts_is_left_out_by_version_2_alone():
    assert exact_match("!", ["the", "Paris"], **TWO) == 0
    assert exact_match("!", ["the", "Paris"], **ONE) == 1
    assert (exact_match("!", ["the"], **TWO), f1("!", ["the"], **TWO)) == (1, 1)
    assert (exact_match("!", ["the"], **ONE), f1("!", ["the"], **ONE)) == (1, 0)
    assert (exact_match("!", ["."], **KOREAN), f1("!", ["."], **KOREAN)) == (1, 0)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_both_scores_are_those_of_the_rules_followed_word_by_word(answer, expected):
    for rules in EVERY:
        korean, version_2 = rules["rules"] == "korquad", rules["unanswerable"]
        exact, overlap = scores(answer, expected, korean, version_2)
        assert exact_match(answer, expected, **rules) == exact
        assert f1(answer, expected, **rules) == pytest.approx(overlap)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_scores_are_between_0_and_1_and_an_exact_match_has_f1_1(answer, expected):
    for rules in EVERY:
        exact, overlap = exact_match(answer, expected, **rules), f1(answer, expected, **rules)
        assert 0 <= overlap <= 1
        if exact and normalize(answer, rules["rules"]):
            assert overlap == 1


@given(TEXTS, TEXTS)
def test_scores_do_not_change_under_normalisation_or_exchange(one, two):
    for rules in EVERY:
        plain = normalize(one, rules["rules"])
        assert normalize(plain, rules["rules"]) == plain
        assert f1(one, [two], **rules) == f1(two, [plain], **rules)
