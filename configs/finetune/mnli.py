r"""MNLI: does a hypothesis follow from a premise? English (Williams et al. 2018; a task of GLUE).

    bertjax finetune configs/finetune/mnli.py --init CHECKPOINT --train train.tsv \
        --dev dev_matched.tsv --run RUN

The columns are those of GLUE's files, `sentence1`, `sentence2` and `gold_label`. With
`tfds:glue/mnli@train` and `tfds:glue/mnli@validation_matched` in place of files:
`--task.text=premise --task.second=hypothesis --task.label=label`. Scored by accuracy.

The recipe is in the range of the BERT paper (appendix A.3: 5e-5, 3e-5 or 2e-5, 2 to 4 epochs). Not
measured by us. Published for BERT-base: 84.6 on matched, 83.4 on mismatched sentences (table 1, by
GLUE's server).
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(
            text="sentence1",
            second="sentence2",
            label="gold_label",
            labels=("entailment", "neutral", "contradiction"),
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=3e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
