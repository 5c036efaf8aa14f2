r"""QQP: do two questions of Quora's ask the same (1) or not (0)? English (GLUE, Wang et al. 2018).

    bertjax finetune configs/finetune/qqp.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are those of GLUE's files, `question1`, `question2` and `is_duplicate`. With
`tfds:glue/qqp@train` and `tfds:glue/qqp@validation` in place of files: `--task.label=label`. Scored
by the F1 of 1, accuracy beside it.

The recipe is in the range of the BERT paper (appendix A.3: 5e-5, 3e-5 or 2e-5, 2 to 4 epochs). Not
measured by us. Published for BERT-base: F1 71.2 (table 1, by GLUE's server).
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(
            text="question1",
            second="question2",
            label="is_duplicate",
            labels=("0", "1"),
            metric="f1",
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=3e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
