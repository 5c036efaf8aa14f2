"""What Hugging Face's BERT calls our weights, and which heads each of its classes has.

After transformers' `models/bert/modeling_bert.py`; its `Linear` keeps a kernel as [out, in].
"""

ARCHITECTURES = {
    "BertForSequenceClassification": ("pooler", "classification_head"),
    "BertForTokenClassification": ("tagging_head",),
    "BertForQuestionAnswering": ("span_head",),
    "BertForPreTraining": ("mlm_head", "pooler", "nsp_head"),
    "BertForMaskedLM": ("mlm_head",),
    "BertForNextSentencePrediction": ("pooler", "nsp_head"),
    "BertModel": ("pooler",),
}
"""The heads of each class; those of a class that comes earlier are for one task alone."""

ENCODER = "bert."  # the prefix of all but the heads; BertModel stores its tensors without
DECODER, DECODER_BIAS = "cls.predictions.decoder.weight", "cls.predictions.decoder.bias"
MLM_HEAD = "cls.predictions."  # the prefix of it
TOKEN_TABLE, MLM_BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"

_ARRAYS = {
    "embeddings/token": TOKEN_TABLE,
    "embeddings/position": "bert.embeddings.position_embeddings.weight",
    "embeddings/segment": "bert.embeddings.token_type_embeddings.weight",
    "mlm_head/bias": MLM_BIAS,
}
_MODULES = {
    "embeddings/norm": "bert.embeddings.LayerNorm",
    "mlm_head/transform": "cls.predictions.transform.dense",
    "mlm_head/norm": "cls.predictions.transform.LayerNorm",
    "pooler/dense": "bert.pooler.dense",
    "nsp_head/dense": "cls.seq_relationship",
    "classification_head/dense": "classifier",
    "tagging_head/dense": "classifier",
    "span_head/dense": "qa_outputs",
}
_LAYER_MODULES = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


def tensor_name(place: str) -> str:
    """Their name for the weights at a place of our tree, with the prefix of the encoder."""
    if place in _ARRAYS:
        return _ARRAYS[place]
    module, _, leaf = place.rpartition("/")
    leaf = "bias" if leaf == "bias" else "weight"
    if module in _MODULES:
        return f"{_MODULES[module]}.{leaf}"
    _, number, part = module.split("/", 2)
    return f"bert.encoder.layer.{number}.{_LAYER_MODULES[part]}.{leaf}"


def is_transposed(place: str) -> bool:
    """Whether ours is the transpose of theirs."""
    return place.endswith("/kernel")


def current_name(name: str) -> str:
    """A name as it is today: with the encoder's prefix, `weight` and `bias` in layer norms too."""
    if name.startswith(("embeddings.", "encoder.", "pooler.")):
        name = ENCODER + name
    stem, _, leaf = name.rpartition(".")
    if stem.endswith("LayerNorm"):
        leaf = {"gamma": "weight", "beta": "bias"}.get(leaf, leaf)
    return f"{stem}.{leaf}"
