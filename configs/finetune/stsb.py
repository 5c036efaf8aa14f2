r"""STS-B: how alike are two English sentences, from 0 to 5? (Cer et al. 2017).

    bertjax finetune configs/finetune/stsb.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are GLUE's, `sentence1`, `sentence2` and `score`. With `tfds:glue/stsb@train` and
`tfds:glue/stsb@validation` in place of files, the score's column is `--task.label=label`. Scored by
Spearman's correlation.

Measured with all-MiniLM-L6-v2 (6 layers of 384) and three seeds: 0.860 ± 0.004, with the paper's
5e-5, batches of 32 and 3 epochs 0.853 ± 0.004. The recipe was chosen on rows held out of the
training file.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Regression, TrainConfig


def get_config() -> Config:
    return Config(
        task=Regression(text="sentence1", second="sentence2", label="score"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=2e-4, warmup_share=0.1, layer_decay=0.8),
        train=TrainConfig(epochs=5, batch_size=16),
    )
