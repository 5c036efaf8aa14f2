"""The tagging task from file to predictions; the model's part is in test_tagging_parity.py."""

import typing
import unicodedata

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjax.config import Tagging
from bertjax.data.examples import pack_examples, unpack
from bertjax.errors import UserError
from bertjax.tasks.tagging import tagging_loss, tagging_task
from bertjax.tasks.task import Notes, TextInputs
from bertjax.text.wordpiece import WordPieceSettings, make_wordpiece
from tests.tasks.small_bert import TOKENIZER, WORDS

TEXT = """\
bab\tB-per
kok\tI-per
babkok\tO

sus\tB-loc
bab\tO
"""
LABELS = ("O", "B-loc", "I-loc", "B-per", "I-per")
KOREAN = make_wordpiece(
    ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "서울", "##시", "김", "##모", "는", "##는"],
    WordPieceSettings(cased=False, recompose=True),
    "here",
)


def make_task(file=None, length=16, tokenizer=TOKENIZER, **options):
    return tagging_task(Tagging(**options), TextInputs(tokenizer, length, 2), file)


def write(folder, text, name="train.conll"):
    file = folder / name
    file.write_text(text)
    return file


def rows(words, labels):
    return "".join(f"{word}\t{label}\n" for word, label in zip(words, labels, strict=True))


def read(task, file, labelled=True):
    return list(task.read(file, labelled, Notes()))


def certain(task, examples):
    """The logits of a model that knows the answers, and is wrong wherever nothing is labelled."""
    size = len(task.labels)
    outputs = []
    for example in examples:
        weights = example.targets["tag_weights"]
        wrong = np.full_like(example.targets["tag_ids"], size - 1)
        tags = np.where(weights > 0, example.targets["tag_ids"], wrong)
        outputs.append({"tagging_logits": np.eye(size, dtype=np.float32)[tags]})
    return outputs


def solve(task, record):
    return task.predict(record, certain(task, task.examples(record)))


@pytest.fixture
def task(tmp_path):
    return make_task(write(tmp_path, TEXT))


def test_labels_are_those_of_the_training_file_or_of_the_config(task):
    assert task.labels == LABELS
    assert make_task(labels=("O", "B-x")).labels == ("O", "B-x")
    with pytest.raises(UserError, match="I-x without B-x"):
        make_task(labels=("O", "I-x"))


def test_a_type_is_the_same_in_either_normal_form(tmp_path):
    composed, taken_apart = ("B-장소", unicodedata.normalize("NFD", "B-장소"))
    file = write(tmp_path, rows(["bab", "kok"], [composed, taken_apart]))
    for task in (make_task(file), make_task(labels=("O", taken_apart))):
        assert task.labels[:2] == ("O", composed)
        assert read(task, file)[0].sentence.labels == (composed, composed)


def test_a_negative_context_is_refused():
    with pytest.raises(UserError, match=r"task.context=-1: must not be negative"):
        make_task(labels=LABELS, context=-1)


def test_the_first_piece_of_each_word_is_labelled_and_nothing_else(tmp_path):
    words = ["bab", "babkok", "kok"]
    tokenizer = make_wordpiece(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bab", "##kok", "kok"],
        WordPieceSettings(cased=True),
        "here",
    )
    file = write(tmp_path, rows(words, ["B-per", "I-per", "O"]))
    task = make_task(file, tokenizer=tokenizer)
    (example,) = task.examples(read(task, file)[0])
    assert example.token_ids.tolist() == [2, 5, 5, 6, 7, 3]
    assert example.targets["tag_weights"].tolist() == [0, 1, 1, 0, 1, 0]
    assert [task.labels[tag] for tag in example.targets["tag_ids"][[1, 2, 4]]] == [
        "B-per",
        "I-per",
        "O",
    ]
    assert not example.segment_ids.any()


def test_records_without_labels_have_no_targets(task, tmp_path):
    file = write(tmp_path, "bab\nkok\n", "input.txt")
    (record,) = read(task, file, labelled=False)
    (example,) = task.examples(record)
    assert example.targets == {}
    output = {"tagging_logits": np.eye(5, dtype=np.float32)[[0, 3, 4, 0]]}
    chance = pytest.approx(np.e / (np.e + 4))
    assert task.predict(record, [output]) == {
        "tokens": ["bab", "kok"],
        "labels": ["B-per", "I-per"],
        "probabilities": [chance, chance],
    }


def test_a_label_that_training_lacks_is_refused_on_reading(task, tmp_path):
    with pytest.raises(UserError, match="line 1: unknown label 'B-org'; the types are"):
        read(task, write(tmp_path, "bab\tB-org\n", "dev.conll"))


BIO = st.lists(st.sampled_from(LABELS), min_size=1, max_size=60)


@settings(deadline=None, max_examples=40)
@given(st.lists(BIO, min_size=1, max_size=5), st.integers(0, 20))
def test_what_is_labelled_comes_back_whatever_the_length_and_context(
    tmp_path_factory, sentences, context
):
    words = [[WORDS[(7 * n) % len(WORDS)] for n in range(len(each))] for each in sentences]
    text = "\n".join(map(rows, words, sentences))
    file = write(tmp_path_factory.mktemp("tags"), text)
    task = make_task(labels=LABELS, context=context)
    records = read(task, file)
    predictions = [solve(task, record) for record in records]
    assert [each["tokens"] for each in predictions] == words
    for record, prediction in zip(records, predictions, strict=True):
        assert prediction["labels"] == list(record.sentence.labels)
        examples = task.examples(record)
        assert all(len(example.token_ids) <= 16 for example in examples)
        labelled = sum(example.targets["tag_weights"].sum() for example in examples)
        assert labelled == len(record.sentence.tokens)


def test_context_comes_from_the_sentences_around_and_is_not_labelled(tmp_path):
    document = "bab O\nkok O\n\nsus B-per\n\ntit O\nbad O\n"
    file = write(tmp_path, f"-DOCSTART- O\n\n{document}\n-DOCSTART- O\n\nbaf B-per\n")
    task = make_task(file, context=1)
    records = read(task, file)
    seen = [task.examples(record)[0] for record in records]
    words = [TOKENIZER.decode(example.token_ids.tolist()).split() for example in seen]
    assert words == [["bab", "kok", "sus"], ["kok", "sus", "tit"], ["sus", "tit", "bad"], ["baf"]]
    weights = [example.targets["tag_weights"].tolist() for example in seen]
    assert weights == [[0, 1, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 0]]


def test_characters_get_the_labels_of_their_pieces(tmp_path):
    labels = ["B-LC", "I-LC", "I-LC", "I-LC", "I-LC", "O", "O", "B-PS", "I-PS", "O"]
    file = write(tmp_path, rows("서울시 서는 김모는", labels))
    task = make_task(file, tokenizer=KOREAN, layout="klue")
    (record,) = read(task, file)
    (example,) = task.examples(record)
    pieces = [KOREAN.id_to_token(index) for index in example.token_ids[1:-1]]
    assert pieces == ["서울", "##시", "[UNK]", "김", "##모", "##는"]
    tags = [task.labels[tag] for tag in example.targets["tag_ids"][1:-1]]
    assert tags == ["B-LC", "I-LC", "I-LC", "B-PS", "I-PS", "O"]
    labels[5] = "I-LC"  # the piece of two characters has one label
    assert solve(task, record)["labels"] == labels


def test_a_sentence_of_spaces_is_predicted_without_a_piece(tmp_path):
    file = write(tmp_path, "김\tB-PS\n\n \tO\n \tO\n")
    task = make_task(file, tokenizer=KOREAN, layout="klue")
    record = read(task, file)[1]
    nothing = {"labels": ["O", "O"], "probabilities": [None, None]}
    assert solve(task, record) == {"tokens": [" ", " "]} | nothing


def test_packed_examples_keep_their_targets_apart(task, tmp_path):
    records = read(task, write(tmp_path, TEXT))
    examples = [example for record in records for example in task.examples(record)]
    batch = pack_examples(examples, 32, TOKENIZER.pad_id)
    assert len(batch["token_ids"]) == 1
    for name in ("tag_ids", "tag_weights"):
        for found, example in zip(unpack(batch[name], batch, 2), examples, strict=True):
            np.testing.assert_array_equal(found, example.targets[name])
    assert batch["tag_weights"].sum() == 5


def test_the_loss_counts_labelled_pieces_alone():
    logits = jnp.zeros((1, 4, 3)).at[0, 1, 2].set(50)
    batch = {
        "tag_ids": jnp.array([[0, 2, 1, 0]]),
        "tag_weights": jnp.array([[0.0, 1.0, 1.0, 0.0]]),
    }
    sums, counts = tagging_loss({"tagging_logits": logits}, batch)
    assert sums["tagging_loss"] == pytest.approx(np.log(3))
    assert sums["accuracy"] == 1
    assert set(map(float, counts.values())) == {2.0}


def test_scores_and_details_of_right_and_wrong_predictions(task, tmp_path):
    records = read(task, write(tmp_path, TEXT))
    right = [solve(task, record) for record in records]
    assert task.score(records, right) == {
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "macro_f1": 1.0,
        "accuracy": 1.0,
    }
    assert task.details(records, right)["errors"] == []
    choices = typing.get_args(typing.get_type_hints(Tagging)["metric"])
    assert set(choices) <= set(task.score(records, right))  # any may pick the best step
    wrong = [right[0] | {"labels": ["B-per", "O", "B-loc"]}, right[1]]
    assert task.score(records, wrong) == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 2, "f1": 0.4, "macro_f1": 1 / 3, "accuracy": 0.6}
    )
    details = task.details(records, wrong)
    assert [row["type"] for row in details["entities"]] == ["loc", "per"]
    assert details["errors"] == [
        {
            "row": 1,
            "text": "bab kok babkok",
            "missed": ["bab kok (per)"],
            "found": ["bab (per)", "babkok (loc)"],
        }
    ]
