r"""SST-2: is a sentence of a film review positive (1) or negative (0)? (Socher et al. 2013).

    bertjax finetune configs/finetune/sst2.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are GLUE's, `sentence` and `label`; `tfds:glue/sst2@train` and
`tfds:glue/sst2@validation` do in place of files. Scored by accuracy.

Measured with all-MiniLM-L6-v2 (6 layers of 384) and three seeds: 0.881 ± 0.001 on the 872 sentences
of dev, 0.884 ± 0.003 on the 1,821 of the test file; with the paper's 5e-5, batches of 32 and 3
epochs 0.872 ± 0.002 on dev. The recipe was chosen on rows held out of the training file.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="sentence", labels=("0", "1")),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-4, warmup_share=0.1, layer_decay=0.9),
        train=TrainConfig(epochs=8, batch_size=16),
    )
