"""Predictions for a file of any size."""

import dataclasses
import subprocess
import sys

import jax
import pytest

from bertjax.config import Config, DataConfig, Regression
from bertjax.errors import UserError
from bertjax.model import bert
from bertjax.tasks.classification import HEADS
from bertjax.tasks.predict_file import FileModel
from tests.tasks.small_bert import CONFIG, TOKENIZER

MEASURE = """
import resource, sys
from pathlib import Path
import jax
from bertjax.config import Classification, Config, DataConfig, ModelConfig
from bertjax.model import bert
from bertjax.tasks.classification import HEADS
from bertjax.tasks.predict_file import FileModel
from tests.tasks.small_bert import TOKENIZER
labels = tuple(f"label {number}" for number in range(200))
model = ModelConfig(num_layers=1, hidden_size=8, num_heads=1, intermediate_size=8, labels=labels,
                    vocab_size=TOKENIZER.vocab_size, max_length=64)
params = bert.init_params(model, jax.random.key(0), HEADS)
config = Config(model, DataConfig(length=32), task=Classification(labels=labels))
FileModel(params, config, TOKENIZER).predict(Path(sys.argv[1]), Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.process
@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    def peak_mib(rows):
        source, output = tmp_path / "rows.tsv", tmp_path / "found.jsonl"
        source.write_text("sentence\n" + "bab kod\n" * rows)
        command = [sys.executable, "-c", MEASURE, str(source), str(output)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert output.read_text().count("\n") == rows
        return float(found.stdout)

    assert peak_mib(14_000) - peak_mib(4_000) < 60  # 10,000 predictions are 110 MiB as objects


def test_a_file_whose_scores_are_hidden_is_not_evaluated(tmp_path):
    file = tmp_path / "test.tsv"
    file.write_text("sentence\tscore\nbab kod\t-1\nbab\t-1\n")
    model = dataclasses.replace(CONFIG, labels=("score",))
    params = bert.init_params(model, jax.random.key(0), HEADS)
    task = Regression(text="sentence", second=None)
    config = Config(model, DataConfig(length=32), task=task)
    with pytest.raises(UserError, match="every row has the score -1"):
        FileModel(params, config, TOKENIZER).report(file)
