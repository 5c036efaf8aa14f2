"""The span task: inputs and targets, its loss against Hugging Face's, and answers from gold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.config import QuestionAnswering
from bertjax.data.examples import pack_examples, unpack
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.question_answering import question_answering_task, span_loss
from bertjax.tasks.squad_files import Answer, Question
from bertjax.tasks.task import Notes, TextInputs
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, TOKENIZER, WORDS, sentences
from tests.tasks.squad import answered, write_squad

INIT = jax.jit(lambda key: bert.init_params(CONFIG, key, heads=("span_head",)))
PARAMS = perturbed(INIT(jax.random.key(0)))
SETTINGS = QuestionAnswering(stride=6, max_question_tokens=8, max_answer_tokens=5)
CLS, SEP = TOKENIZER.classifier_id, TOKENIZER.separator_id
MASKS = ("may_answer", "is_start", "is_end")


def make_task(settings=SETTINGS, length=24, num_segments=2):
    return question_answering_task(settings, TextInputs(TOKENIZER, length, num_segments))


def ask(context, *answers, text=f"{WORDS[20]} {WORDS[21]}"):
    """A question with answers at these words of the context, (first, last); None: no labels."""
    words = context.split()
    starts = [len(" ".join([*words[:n], ""])) for n in range(len(words) + 1)]
    spans = [(starts[first], starts[last + 1] - 1) for first, last in answers if answers != (None,)]
    found = tuple(Answer(context[start:end], (start, end)) for start, end in spans)
    return Question(1, "a", text, context, found)


def targets(question, length=24):
    """Per window, the positions that each of the three targets marks."""
    return [
        tuple(np.flatnonzero(example.targets[name]).tolist() for name in MASKS)
        for example in make_task(length=length).examples(question)
    ]


def test_an_input_is_the_question_and_a_window_of_the_context():
    question = ask(sentences([30])[0])
    ids = TOKENIZER.encode(question.context)
    examples = make_task().examples(question)
    head = [CLS, *TOKENIZER.encode(question.text), SEP]
    for number, example in enumerate(examples):
        window = ids[6 * number : 6 * number + 19]
        assert example.token_ids.tolist() == [*head, *window, SEP]
        assert example.segment_ids.tolist() == [0] * 4 + [1] * (len(window) + 1)
    assert len(examples) == 3
    segments = make_task(num_segments=1).examples(question)[0].segment_ids
    assert not segments.any()  # a model with one segment


def test_windows_that_hold_the_whole_answer_point_to_it_and_others_to_cls():
    context = list(range(4, 23))
    first, second, third = targets(ask(sentences([30])[0], (17, 20), (3, 3)))
    assert first == ([0, *context], [0], [0])
    assert second == ([0, *context], [15], [18])  # 17 - 6 + 4
    assert third == ([0, *range(4, 22)], [9], [12])


def test_a_question_without_an_answer_points_to_cls_everywhere():
    assert [found[1:] for found in targets(ask(sentences([30])[0]))] == [([0], [0])] * 3


def test_a_question_whose_answer_is_not_in_the_context_has_no_right_position():
    lost = dataclasses.replace(ask(sentences([5])[0]), answers=(Answer("nowhere", None),))
    assert [found[1:] for found in targets(lost)] == [([], [])]
    logits = {"span_logits": jnp.ones((1, 24, 2))}
    sums, counts = span_loss(logits, packed([make_task().examples(lost)[0]], 24))
    assert (sums["span_loss"], counts["span_loss"]) == (0, 0)


def test_a_question_without_labels_has_no_targets():
    unlabelled = dataclasses.replace(ask(sentences([5])[0]), answers=None)
    assert make_task().examples(unlabelled)[0].targets == {}


def test_questions_that_are_cut_are_counted(tmp_path):
    texts = [" ".join(WORDS[:count]) for count in (8, 9, 10)]  # at most 8 are kept
    questions = [answered(str(number), text, ("bab", 0)) for number, text in enumerate(texts)]
    notes = Notes()
    file = write_squad(tmp_path / "train.json", ("bab kod", questions))
    assert len(list(make_task().read(file, True, notes))) == 3
    assert notes.counts == {"questions cut to 8 tokens": 2}
    assert notes.first == {"questions cut to 8 tokens": "question 2 (1)"}


@pytest.mark.parametrize(
    ("change", "length", "message"),
    [
        ({"stride": 0}, 24, "task.stride=0: must be at least 1"),
        ({"n_best": -1}, 24, "task.n_best=-1: must be at least 1"),
        ({}, 15, "data.length=15: beside a question of task.max_question_tokens=8 there is no "),
    ],
)
def test_settings_that_cannot_work_are_refused(change, length, message):
    with pytest.raises(UserError, match="^" + message):
        make_task(dataclasses.replace(SETTINGS, **change), length)


LABELLED = [
    ask(sentences([9], seed=1)[0], (2, 4)),
    ask(sentences([30], seed=2)[0], (17, 20)),
    ask(sentences([5], seed=3)[0]),
    ask(sentences([12], seed=4)[0], (0, 0), text=WORDS[30]),
]
EXAMPLES = [example for question in LABELLED for example in make_task().examples(question)]


def packed(examples, length, alone=False):
    """The batch; alone: an example per row, in their order."""
    if not alone:
        return pack_examples(examples, length, TOKENIZER.pad_id)
    rows = [pack_examples([example], length, TOKENIZER.pad_id) for example in examples]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@jax.jit
def forward(params, batch):
    encoded = bert.forward(
        params, CONFIG, batch["token_ids"], batch["segment_ids"], batch["pair_ids"]
    )
    return make_task().logits(params, CONFIG, encoded.hidden, lambda hidden: hidden)


@jax.jit
@jax.value_and_grad
def loss_and_gradients(params, batch):
    sums, counts = span_loss(forward(params, batch), batch)
    return sums["span_loss"] / counts["span_loss"]


@pytest.mark.slow
def test_packed_and_unpacked_examples_have_the_same_logits_loss_and_gradients():
    together, alone = packed(EXAMPLES, 72), packed(EXAMPLES, 24, alone=True)
    assert len(together["token_ids"]) < len(EXAMPLES) == len(alone["token_ids"])
    logits = np.asarray(forward(PARAMS, together)["span_logits"])
    single = np.asarray(forward(PARAMS, alone)["span_logits"])
    for number, found in enumerate(unpack(logits, together, len(EXAMPLES))):
        np.testing.assert_allclose(found, single[number, : len(found)], atol=2e-5)
    one, one_gradients = loss_and_gradients(PARAMS, together)
    two, two_gradients = loss_and_gradients(PARAMS, alone)
    assert float(one) == pytest.approx(float(two), rel=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (one_gradients, two_gradients)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def of_equal_length():
    """Examples that fill their rows: Hugging Face's loss looks at the padding too."""
    places = [(2, 4), (0, 0), (9, 18), (18, 18)]
    questions = [ask(sentences([19], seed=s)[0], place) for s, place in enumerate(places)]
    return [example for question in questions for example in make_task().examples(question)]


def pytorch():
    """The library, and its BertForQuestionAnswering with our weights."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.tasks.labelled_reference import labelled_reference

    return torch, labelled_reference(CONFIG, PARAMS, outputs=2)


def inputs_of(torch, batch):
    """A batch of one example a row, and the right positions, by Hugging Face's names."""
    names = {"input_ids": "token_ids", "token_type_ids": "segment_ids"}
    found = {theirs: torch.from_numpy(batch[ours]).long() for theirs, ours in names.items()}
    found["attention_mask"] = torch.from_numpy(batch["pair_ids"] > 0).long()
    right = [torch.from_numpy(batch[name].argmax(axis=1)) for name in ("is_start", "is_end")]
    return found, right


def assert_same(batch, model, loss):
    """Our loss of the batch, and its gradients, are those of PyTorch."""
    from tests.tasks.labelled_reference import assert_same_gradients

    loss.backward()
    found, gradients = loss_and_gradients(PARAMS, batch)
    assert float(found) == pytest.approx(loss.item(), rel=1e-5)
    assert_same_gradients(CONFIG, model, gradients)


@pytest.mark.slow
def test_loss_and_gradients_are_hugging_faces_where_every_position_may_answer():
    torch, model = pytorch()
    batch = packed(of_equal_length(), 24, alone=True)
    batch["may_answer"][:] = True
    assert (batch["pair_ids"] == 1).all()
    inputs, (starts, ends) = inputs_of(torch, batch)
    output = model(**inputs, start_positions=starts, end_positions=ends)
    theirs = torch.stack([output.start_logits, output.end_logits], -1).detach().numpy()
    np.testing.assert_allclose(forward(PARAMS, batch)["span_logits"], theirs, atol=3e-5)
    assert_same(batch, model, output.loss)


@pytest.mark.slow
def test_packed_loss_and_gradients_are_cross_entropies_over_the_words_of_the_paragraph():
    torch, model = pytorch()
    alone = packed(EXAMPLES, 24, alone=True)
    inputs, right = inputs_of(torch, alone)
    output = model(**inputs)
    allowed = torch.from_numpy(alone["may_answer"])
    losses = [
        torch.nn.functional.cross_entropy(logits.masked_fill(~allowed, -torch.inf), positions)
        for logits, positions in zip((output.start_logits, output.end_logits), right, strict=True)
    ]
    assert_same(packed(EXAMPLES, 72), model, sum(losses) / 2)


def gold_logits(examples):
    """What a model would give that knows the targets."""
    names = ("is_start", "is_end")
    return [
        {"span_logits": 20.0 * np.stack([example.targets[name] for name in names], axis=1)}
        for example in examples
    ]


def from_gold(task, questions):
    predictions = []
    for question in questions:
        examples = task.examples(question)
        predictions.append(task.predict(question, gold_logits(examples)))
    return predictions


def test_gold_logits_of_a_task_give_its_answers_and_the_best_scores():
    settings = dataclasses.replace(SETTINGS, unanswerable=True)
    task = make_task(settings)
    predictions = from_gold(task, LABELLED)
    expected = [question.answers[0].text if question.answers else "" for question in LABELLED]
    # The second question's answer is in two windows of three: the third says that there is none.
    assert [found["answer"] for found in predictions] == expected
    assert task.score(LABELLED, predictions) == pytest.approx(
        {
            f"{part}{metric}": 100.0
            for part in ("", "has_answer_", "no_answer_", "best_")
            for metric in ("exact_match", "f1")
        }
    )


def test_the_threshold_found_on_dev_is_kept_in_the_settings():
    settings = dataclasses.replace(SETTINGS, unanswerable=True)
    questions = [ask(WORDS[1], (0, 0)), ask(WORDS[2]), ask(WORDS[3], (0, 0))]
    predictions = [
        {"answer": "", "null_score": score, "nbest": [{"text": text}]}
        for score, text in zip((1.0, 2.0, 1.5), WORDS[1:4], strict=True)
    ]
    found, with_it = make_task(settings).calibrate(questions, predictions)
    assert found == dataclasses.replace(settings, null_threshold=1.5)
    assert [prediction["answer"] for prediction in with_it] == [WORDS[1], "", WORDS[3]]
    assert make_task().calibrate is None
