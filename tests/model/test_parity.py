"""Against Hugging Face's BERT in PyTorch: the same weights give the same numbers and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bertjax.model import bert
from bertjax.model.positions import classifier_positions, gather_positions
from bertjax.train import objective
from bertjax.train.masking import Masked
from tests.model.conftest import CONFIG

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from tests import reference  # noqa: E402

MASK_ID = 4


@pytest.fixture(scope="module")
def masks(pairs):
    """Every fourth word of each unpacked row hidden, as (token_ids, labels with -100)."""
    token_ids = pairs.unpacked["token_ids"]
    chosen = (token_ids > 4) & (np.arange(token_ids.shape[1]) % 4 == 1)
    return np.where(chosen, MASK_ID, token_ids), np.where(chosen, token_ids, -100)


@pytest.fixture(scope="module")
def model(params):
    return reference.reference_model(CONFIG, params)


@pytest.fixture(scope="module")
def expected(model, pairs, masks):
    """Hugging Face's output on the padded rows, its gradients left in the model."""
    batch = {name: torch.from_numpy(array).long() for name, array in pairs.unpacked.items()}
    output = model(
        input_ids=torch.from_numpy(masks[0]).long(),
        token_type_ids=batch["segment_ids"],
        attention_mask=(batch["pair_ids"] > 0).long(),
        labels=torch.from_numpy(masks[1]).long(),
        next_sentence_label=batch["next_sentence_labels"][:, 0],
        output_hidden_states=True,
        output_attentions=True,
    )
    output.loss.backward()
    return output


@pytest.fixture(scope="module", params=["padded", "packed"])
def layout(request, pairs, masks):
    """The batch, its masks, and where each pair stands in it: (row, first position, length)."""
    if request.param == "padded":
        places = [(row, 0, length) for row, (_, _, length) in enumerate(pairs.places)]
        return pairs.unpacked, masks, places
    packed = [np.zeros_like(pairs.packed["token_ids"]), np.full_like(pairs.packed["token_ids"], -1)]
    for number, (row, start, length) in enumerate(pairs.places):
        for target, source in zip(packed, masks, strict=True):
            target[row, start : start + length] = source[number, :length]
    return pairs.packed, tuple(packed), pairs.places


def masked(token_ids, labels, predictions=12):
    """The masks as the loss takes them."""
    positions = np.zeros((len(token_ids), predictions), np.int32)
    weights = np.zeros((len(token_ids), predictions), np.float32)
    for row, columns in enumerate(labels):
        found = np.flatnonzero(columns >= 0)
        positions[row, : len(found)] = found
        weights[row, : len(found)] = 1
    kept = np.maximum(np.take_along_axis(labels, positions, axis=1), 0)
    return Masked(token_ids, positions, kept * weights.astype(np.int32), weights)


def by_pair(array, places):
    """The real positions of [batch, length, ...], pair after pair."""
    return np.concatenate([np.asarray(array)[r, start : start + n] for r, start, n in places])


def assert_close(found, wanted, tolerance=1e-4):
    """Equal to `tolerance` of the largest value."""
    wanted = wanted.detach().numpy() if isinstance(wanted, torch.Tensor) else wanted
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * np.abs(wanted).max())


def encode(params, batch, token_ids):
    return forward(params, token_ids, batch["segment_ids"], batch["pair_ids"])


@jax.jit
def forward(params, *ids):
    return bert.forward(params, CONFIG, *ids, all_hidden=True, attention=True)


def test_hidden_states_of_every_layer(params, layout, pairs, expected):
    batch, (token_ids, _), places = layout
    encoded = encode(params, batch, token_ids)
    unpacked = [(row, 0, length) for row, (_, _, length) in enumerate(pairs.places)]
    assert len(encoded.hidden_states) == len(expected.hidden_states) == CONFIG.num_layers + 1
    for found, wanted in zip(encoded.hidden_states, expected.hidden_states, strict=True):
        assert_close(by_pair(found, places), by_pair(wanted.detach(), unpacked))


def test_attention_of_every_layer(params, layout, expected):
    batch, (token_ids, _), places = layout
    attentions = encode(params, batch, token_ids).attentions
    for found, wanted in zip(attentions, expected.attentions, strict=True):
        for number, (row, start, length) in enumerate(places):
            own = slice(start, start + length)
            assert_close(found[row, :, own, own], wanted[number, :, :length, :length])


def test_pooled_output_and_next_sentence_logits(params, layout, model, expected):
    batch, (token_ids, _), places = layout
    hidden = encode(params, batch, token_ids).hidden
    starts = classifier_positions(batch["pair_ids"], batch["next_sentence_labels"].shape[1])
    pooled = bert.pooled(params, CONFIG, gather_positions(hidden, starts))
    logits = bert.nsp_logits(params, CONFIG, pooled)
    numbers = [(row, batch["pair_ids"][row, start] - 1) for row, start, _ in places]
    with torch.no_grad():
        wanted = model.bert.pooler(expected.hidden_states[-1])
    assert_close(np.stack([pooled[place] for place in numbers]), wanted)
    assert_close(np.stack([logits[place] for place in numbers]), expected.seq_relationship_logits)


def test_masked_token_logits(params, layout, pairs, expected):
    batch, (token_ids, _), places = layout
    logits = bert.mlm_logits(params, CONFIG, encode(params, batch, token_ids).hidden)
    unpacked = [(row, 0, length) for row, (_, _, length) in enumerate(pairs.places)]
    wanted = by_pair(expected.prediction_logits.detach(), unpacked)
    found = by_pair(logits, places)
    assert_close(found[:, : CONFIG.vocab_size], wanted)
    assert (found[:, CONFIG.vocab_size :] <= -1e9).all()


@pytest.fixture(scope="module")
def step(params, layout):
    """(sums, counts) of the loss and the gradients of the mean losses' sum."""
    batch, hidden_and_labels, _ = layout

    def loss(params):
        sums, counts = objective.masked_loss(
            params, batch, masked(*hidden_and_labels), None, config=CONFIG, dtype=jnp.float32
        )
        total = sum(sums[name] / counts[name] for name in ("mlm_loss", "nsp_loss"))
        return total, (sums, counts)

    gradients, figures = jax.jit(jax.grad(loss, has_aux=True))(params)
    return figures, gradients


def test_both_losses(step, expected, masks, pairs):
    sums, counts = step[0]
    labels = torch.from_numpy(masks[1]).long().flatten()
    mlm = torch.nn.functional.cross_entropy(expected.prediction_logits.flatten(0, 1), labels)
    nsp = torch.nn.functional.cross_entropy(
        expected.seq_relationship_logits,
        torch.from_numpy(pairs.unpacked["next_sentence_labels"]).long()[:, 0],
    )
    assert sums["mlm_loss"] / counts["mlm_loss"] == pytest.approx(mlm.item(), rel=1e-4)
    assert sums["nsp_loss"] / counts["nsp_loss"] == pytest.approx(nsp.item(), rel=1e-4)


@pytest.mark.usefixtures("expected")
def test_gradient_of_every_parameter(params, step, model):
    wanted = reference.reference_gradients(CONFIG, model)
    assert len(wanted) == len(jax.tree.leaves(params))
    largest = max(np.abs(gradient).max() for gradient in wanted.values())
    for path, gradient in wanted.items():
        ours = np.asarray(reference.leaf(step[1], path))[: len(gradient)]
        bound = 1e-4 * max(np.abs(gradient).max(), 1e-3 * largest)
        np.testing.assert_allclose(ours, gradient, rtol=0, atol=bound, err_msg=path)
