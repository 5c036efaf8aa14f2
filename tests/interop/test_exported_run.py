"""A run trained here and evaluated by transformers: the same losses under the same masks."""

import jax
import numpy as np
import pytest

import bertjax
from bertjax.config import MaskingConfig, MeshConfig
from bertjax.train.batches import Validation
from bertjax.train.masking import masking_table
from bertjax.train.mesh import batch_sharding, make_mesh
from bertjax.train.objective import mask_batch

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.slow
MASKING = MaskingConfig(rate=0.15, unit="token")  # of every evaluation


@pytest.fixture(scope="module")
def bert(small_run):
    return bertjax.load(small_run / "run")


@pytest.fixture(scope="module")
def published(bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / "model"
    bert.save_huggingface(folder)
    return folder


@pytest.fixture(scope="module")
def masked_pairs(bert, small_run):
    """Every pair of the validation split as evaluation masks it, unpacked to a row of its own."""
    tokenizer, sharding = bert.tokenizer, batch_sharding(make_mesh(MeshConfig()))
    batches = Validation(small_run / "data", tokenizer, bert.experiment, sharding)
    table = masking_table(tokenizer.continues_word, tokenizer.special_ids, tokenizer.mask_id)
    pairs = []
    for number, batch in enumerate(batches):
        rows = batch["pair_ids"].shape[0]
        batch["row_ids"] = number * rows + np.arange(rows, dtype=np.int32)
        masked = mask_batch(jax.random.key(0), batch, table, MASKING)
        labels = np.full(masked.token_ids.shape, -100)
        for row, position in np.argwhere(np.asarray(masked.weights) > 0):
            labels[row, masked.positions[row, position]] = masked.labels[row, position]
        columns = [masked.token_ids, batch["segment_ids"], labels]
        pair_ids, is_next = np.asarray(batch["pair_ids"]), np.asarray(batch["next_sentence_labels"])
        for row, pair in np.argwhere(is_next >= 0):
            own = pair_ids[row] == pair + 1
            pairs.append(
                (*(np.asarray(column)[row, own] for column in columns), is_next[row, pair])
            )
    return pairs


def test_both_losses_of_an_export_are_those_of_the_run(bert, small_run, published, masked_pairs):
    model = transformers.AutoModelForPreTraining.from_pretrained(published).eval()
    mlm_losses, nsp_losses = [], []
    for token_ids, segment_ids, labels, is_next in masked_pairs:
        with torch.no_grad():
            found = model(
                input_ids=torch.tensor(token_ids[None]).long(),
                token_type_ids=torch.tensor(segment_ids[None]).long(),
            )
        losses = torch.nn.functional.cross_entropy(
            found.prediction_logits[0], torch.tensor(labels).long(), reduction="none"
        )
        mlm_losses += losses[labels >= 0].tolist()
        target = torch.tensor([int(is_next)])
        nsp_losses.append(
            torch.nn.functional.cross_entropy(found.seq_relationship_logits, target).item()
        )
    expected = bert.evaluate(data=str(small_run / "data"))
    assert len(nsp_losses) == expected["examples"]
    assert np.mean(mlm_losses) == pytest.approx(expected["mlm_loss"], abs=1e-4)
    assert np.mean(nsp_losses) == pytest.approx(expected["nsp_loss"], abs=1e-4)


def test_the_exported_tokenizer_and_model_fill_masks_alike(bert, published):
    words = [bert.tokenizer.id_to_token(index) for index in (40, 60, 80)]
    text = f"{words[0].strip('#')} [MASK] {words[1].strip('#')}"
    fill = transformers.pipeline("fill-mask", str(published), top_k=3)
    (ours,) = bert.fill_mask(text, top_k=3)
    for (token, probability), theirs in zip(ours, fill(text), strict=True):
        assert bert.tokenizer.token_to_id(token) == theirs["token"]
        assert probability == pytest.approx(theirs["score"], rel=1e-4)
