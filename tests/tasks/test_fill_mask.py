"""Masked words and next sentences, against Hugging Face's BERT in PyTorch."""

import dataclasses

import jax
import numpy as np
import pytest

from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.fill_mask import encode_with_masks, fill_mask
from bertjax.tasks.next_sentence import next_sentence
from bertjax.text.tokenizer import load_tokenizer
from bertjax.text.wordpiece import WordPieceSettings, make_wordpiece
from tests.model.conftest import perturbed
from tests.tasks.small_bert import CONFIG, PARAMS, TOKENIZER, WORDS, sentences

CLS, SEP, MASK = TOKENIZER.classifier_id, TOKENIZER.separator_id, TOKENIZER.mask_id


def fill(text, top_k=3, **options):
    return fill_mask(PARAMS, CONFIG, TOKENIZER, text, top_k, **options)


def follows(first, second):
    return next_sentence(PARAMS, CONFIG, TOKENIZER, first, second)


def pytorch(ids, segments=None):
    """Hugging Face's output for one row of ids."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.reference import reference_model

    segments = torch.tensor([segments or [0] * len(ids)])
    with torch.no_grad():
        return reference_model(CONFIG, PARAMS)(torch.tensor([ids]), token_type_ids=segments)


def expect_candidates(found, ids, segments=None):
    """The candidates of every mask are PyTorch's, in order."""
    shares = pytorch(ids, segments).prediction_logits[0].softmax(-1).numpy()
    positions = np.flatnonzero(np.array(ids) == MASK)
    assert len(found) == len(positions)
    for mask, position in zip(found, positions, strict=True):
        best = np.argsort(-shares[position])[: len(mask)]
        assert [token for token, _ in mask] == [TOKENIZER.id_to_token(index) for index in best]
        np.testing.assert_allclose(
            [share for _, share in mask], shares[position, best], rtol=1e-4, atol=1e-6
        )


def test_the_candidates_of_every_mask_are_pytorchs():
    one, two = (TOKENIZER.encode(word) for word in WORDS[:2])
    found = fill(f"{WORDS[0]} [MASK] {WORDS[1]}[MASK] [MASK]")
    assert [len(mask) for mask in found] == [3, 3, 3]
    expect_candidates(found, [CLS, *one, MASK, *two, MASK, MASK, SEP])


def test_a_second_text_is_the_second_segment():
    found = fill(f"[MASK] {WORDS[3]}", second=f"{WORDS[5]} [MASK]")
    head = [CLS, MASK, *TOKENIZER.encode(WORDS[3]), SEP]
    tail = [*TOKENIZER.encode(WORDS[5]), MASK, SEP]
    expect_candidates(found, head + tail, [0] * len(head) + [1] * len(tail))


def test_all_of_the_vocabulary_can_be_asked_for():
    ((mask,),) = [fill("[MASK]", top_k=TOKENIZER.vocab_size)]
    assert len({token for token, _ in mask}) == TOKENIZER.vocab_size
    assert sum(share for _, share in mask) == pytest.approx(1, abs=1e-5)
    shares = [share for _, share in mask]
    assert shares == sorted(shares, reverse=True)


def test_the_vocabularys_own_name_for_the_mask_is_read_too():
    tokens = ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", *WORDS]
    tokenizer = make_wordpiece(tokens, WordPieceSettings(cased=True), "here")
    named = fill_mask(PARAMS, CONFIG, tokenizer, f"{WORDS[0]} <mask>", 3)
    assert named == fill_mask(PARAMS, CONFIG, tokenizer, f"{WORDS[0]} [MASK]", 3)
    assert [share for _, share in named[0]] == [share for _, share in fill(f"{WORDS[0]} [MASK]")[0]]


def test_a_whole_number_of_numpy_is_one():
    assert fill("[MASK]", top_k=np.int64(2)) == fill("[MASK]", top_k=2)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("bab", {}, "no [MASK] in 'bab': write [MASK] where a word is missing"),
        ("[mask] <mask>", {}, "no [MASK] in '[mask] <mask>'"),
        ("bab", {"second": "kod"}, "no [MASK] in"),
        ("[MASK]", {"top_k": 0}, "top_k=0: must be a whole number between 1 and 53"),
        ("[MASK]", {"top_k": 54}, "top_k=54: must be a whole number between 1 and 53"),
        ("[MASK]", {"top_k": 1.5}, "top_k=1.5: must be a whole number"),
        ("[MASK]", {"top_k": "next"}, "top_k='next': must be a whole number"),
        ("[MASK] " * 149, {}, "the text has 151 tokens, the model takes 150: shorten it"),
        ("[MASK] " * 100, {"second": "bab " * 60}, "the text has 163 tokens"),
    ],
)
def test_what_cannot_be_filled_is_refused(text, options, message):
    with pytest.raises(UserError) as caught:
        fill(text, **options)
    assert message in str(caught.value)


def test_a_text_of_exactly_the_models_length_is_taken():
    assert len(fill("[MASK] " * 148)) == 148


def test_the_probability_of_the_next_sentence_is_pytorchs():
    first, second = sentences([7, 40])
    head = [CLS, *TOKENIZER.encode(first), SEP]
    tail = [*TOKENIZER.encode(second), SEP]
    logits = pytorch(head + tail, [0] * len(head) + [1] * len(tail)).seq_relationship_logits
    found = follows(first, second)
    assert found == pytest.approx(float(logits.softmax(-1)[0, 0]), abs=1e-5)
    assert found != pytest.approx(follows(second, first), abs=1e-3)


def test_a_pair_that_is_too_long_is_refused():
    with pytest.raises(UserError, match="the text has 163 tokens, the model takes 150"):
        follows("bab " * 100, "kod " * 60)


def test_a_model_of_one_segment_takes_pairs():
    config = dataclasses.replace(CONFIG, num_segments=1)
    params = perturbed(bert.init_params(config, jax.random.key(0)))
    assert 0 < next_sentence(params, config, TOKENIZER, "bab", "kod") < 1


def test_a_tokenizer_that_knows_its_mask_cuts_the_text_around_it(tmp_path):
    transformers = pytest.importorskip("transformers")
    words = ["▁", "▁a", "▁the", "the", "a", "t", "h", "e", "."]
    scored = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    scored += [(word, -1.0 - n) for n, word in enumerate(words)] + [("<mask>", 0.0)]
    owner = transformers.XLMRobertaTokenizer(vocab=scored)
    owner.save_pretrained(tmp_path)
    expected = owner("the <mask>. a", add_special_tokens=False)["input_ids"]
    assert encode_with_masks(load_tokenizer(tmp_path), "the [MASK]. a") == expected
