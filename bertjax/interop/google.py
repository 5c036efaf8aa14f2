"""Google's folders: `bert_config.json`, one TensorFlow checkpoint, `vocab.txt`.

Names and layouts are those that google-research/bert's modeling.py and run_pretraining.py give to
their variables; what run_pretraining.py leaves behind beside the weights (Adam's slots, the step)
is skipped.
"""

import functools
import re

from etils import epath

from bertjax.errors import UserError
from bertjax.files import read_json
from bertjax.interop.bert_config import model_config
from bertjax.interop.huggingface_names import tensor_name
from bertjax.interop.tensor_bundle import TensorBundle, open_bundle, read_tensor
from bertjax.interop.weights import Imported, Tensor, assemble, expected_shapes

CONFIG_FILE = "bert_config.json"

_WHOLE = {
    "embeddings/token": "bert/embeddings/word_embeddings",
    "embeddings/position": "bert/embeddings/position_embeddings",
    "embeddings/segment": "bert/embeddings/token_type_embeddings",
    "mlm_head/bias": "cls/predictions/output_bias",
    "nsp_head/dense/kernel": "cls/seq_relationship/output_weights",
    "nsp_head/dense/bias": "cls/seq_relationship/output_bias",
}
_TRANSPOSED = "nsp_head/dense/kernel"
_NORM_LEAVES = {"scale": "gamma", "bias": "beta"}

_LATEST = re.compile(r'^model_checkpoint_path: "(?:.*/)?([^"/]+)"', re.MULTILINE)
_PREFIX_AND_STEP = re.compile(r"(.+)-(\d+)")
_STEP = "global_step"
# Of google-research/bert's optimizer, of LAMB and of TensorFlow's own Adam.
_OPTIMIZER = re.compile(r"(.*/(adam_m|adam_v|lamb_m|lamb_v|Adam|Adam_1)|beta[12]_power)")
# A variable by which each relative of BERT that is saved in the same format is known.
_OTHER_ARCHITECTURES = {
    "bert/encoder/embedding_hidden_mapping_in/kernel": "ALBERT",
    "electra/embeddings/word_embeddings": "ELECTRA",
    "model/transformer/word_embedding/lookup_table": "XLNet",
    "_CHECKPOINTABLE_OBJECT_GRAPH": "TensorFlow 2's objects",
}


def open_google(path: epath.PathLike) -> Imported:
    """Opens a folder, or the checkpoint in it that is named by its prefix.

    Raises:
        UserError: a file is missing, truncated or damaged, it is not clear which of several
            checkpoints is meant, or the weights are not those that `bert_config.json` describes.
    """
    prefix = find_prefix(path)
    settings_file = prefix.parent / CONFIG_FILE
    config = model_config(read_json(settings_file), str(settings_file))
    bundle = open_bundle(prefix)
    _refuse_other_architecture(bundle)
    tensors = {}
    for place in expected_shapes(config):
        name = variable_name(place)
        if name in bundle.entries:
            read = functools.partial(read_tensor, bundle, name)
            shape = bundle.entries[name].shape
            tensors[place] = Tensor(name, shape, read, transposed=place == _TRANSPOSED)
    params = assemble(config, tensors, str(prefix), variable_name)
    step, notes = _rest(bundle, {tensor.name for tensor in tensors.values()})
    return Imported(config, params, step, notes)


def find_prefix(path: epath.PathLike) -> epath.Path:
    """The checkpoint that a path means: PREFIX of PREFIX.index.

    A prefix means itself. In a folder it is the one that the file `checkpoint` names, else the only
    one, else the one of the highest step (PREFIX-STEP).

    Raises:
        UserError: there is none, or several that are not steps of one training.
    """
    path = epath.Path(path)
    if not path.is_dir() and epath.Path(f"{path}.index").exists():
        return path
    names = sorted(file.name.removesuffix(".index") for file in path.glob("*.index"))
    latest = path / "checkpoint"
    text = latest.read_bytes().decode(errors="replace") if latest.is_file() else ""
    named = _LATEST.search(text)
    if named and named[1] in names:
        return path / named[1]
    steps = [_PREFIX_AND_STEP.fullmatch(name) for name in names]
    if len(names) > 1 and len({step and step[1] for step in steps} - {None}) == 1 and all(steps):
        names = sorted(names, key=lambda name: int(name.rpartition("-")[2]))[-1:]
    if not names:
        raise UserError(f"{path}: no TensorFlow checkpoint in it (PREFIX.index, PREFIX.data-...)")
    if len(names) > 1:
        raise UserError(
            f"{path}: several checkpoints ({', '.join(names)}); name one: {path / names[0]}"
        )
    return path / names[0]


def variable_name(place: str) -> str:
    """What google-research/bert calls the weights at a place of our tree."""
    if place in _WHOLE:
        return _WHOLE[place]
    # Hugging Face kept the names of Google's modules.
    module = tensor_name(place).rpartition(".")[0].replace(".", "/").replace("layer/", "layer_")
    leaf = place.rpartition("/")[2]
    return f"{module}/{_NORM_LEAVES[leaf] if module.endswith('LayerNorm') else leaf}"


def _refuse_other_architecture(bundle: TensorBundle) -> None:
    for name, architecture in _OTHER_ARCHITECTURES.items():
        if name in bundle.entries:
            raise UserError(
                f"{bundle.prefix}: a checkpoint of {architecture}, not of google-research/bert"
            )


def _rest(bundle: TensorBundle, used: set[str]) -> tuple[int, tuple[str, ...]]:
    """The checkpoint's step, or 0, and what to say of it and of all that is not used."""
    unused = sorted(set(bundle.entries) - used - {_STEP})
    slots = [name for name in unused if _OPTIMIZER.fullmatch(name)]
    unknown = [name for name in unused if name not in slots]
    notes = [f"read from {bundle.prefix.name}"]
    if slots:
        notes.append(f"skipped {len(slots)} arrays of the optimizer")
    if unknown:
        notes.append(f"not used: {', '.join(unknown)}")
    step = int(read_tensor(bundle, _STEP)) if _STEP in bundle.entries else 0
    return step, tuple(notes)
