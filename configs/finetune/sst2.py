r"""SST-2: is a sentence of a film review positive (1) or negative (0)? (Socher et al. 2013).

    bertjax finetune configs/finetune/sst2.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are GLUE's, `sentence` and `label`; `tfds:glue/sst2@train` and
`tfds:glue/sst2@validation` do in place of files. Scored by accuracy.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="sentence", labels=("0", "1")),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
