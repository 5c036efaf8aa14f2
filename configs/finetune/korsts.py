r"""KorSTS: how alike are two Korean sentences, from 0 to 5? (Ham et al. 2020).

    bertjax finetune configs/finetune/korsts.py --init CHECKPOINT --train sts-train.tsv \
        --dev sts-dev.tsv --run RUN

The columns are those of the published files. Scored by Spearman's correlation. The training
sentences are machine translated, the others by hand.

Learning rate and epochs are for a model of BERT-base's size. Measured with `korean_four_layers` (4
layers of 256), one seed, `--optimizer.learning_rate=2e-4`: 0.565, from scratch 0.181.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Regression, TrainConfig


def get_config() -> Config:
    return Config(
        task=Regression(text="sentence1", second="sentence2", label="score"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
