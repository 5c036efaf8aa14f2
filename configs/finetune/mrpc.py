r"""MRPC: do two sentences of the news say the same (1) or not (0)? (Dolan and Brockett 2005).

    bertjax finetune configs/finetune/mrpc.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are `sentence1`, `sentence2` and `label`; `tfds:glue/mrpc@train` and
`tfds:glue/mrpc@validation` do in place of files. Two pairs in three say the same: scored by the F1
of these, accuracy beside it.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="sentence1", second="sentence2", labels=("0", "1"), metric="f1"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
