r"""CoLA: is a sentence good English (1) or not (0)? (Warstadt et al. 2018).

    bertjax finetune configs/finetune/cola.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are `sentence` and `label`; `tfds:glue/cola@train` and `tfds:glue/cola@validation` do in
place of files. Scored by Matthews correlation, as GLUE does: always answering 1 gives 0.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="sentence", labels=("0", "1"), metric="matthews"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
