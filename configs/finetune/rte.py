r"""RTE: does the second sentence follow from the first? English (GLUE, Wang et al. 2018).

    bertjax finetune configs/finetune/rte.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are GLUE's, `sentence1`, `sentence2` and `label`; `tfds:glue/rte@train` and
`tfds:glue/rte@validation` do in place of files. Scored by accuracy. The premises are long: with
`--data.length=256` fewer of them are cut.

Measured with all-MiniLM-L6-v2 (6 layers of 384), one seed: 0.584, and from scratch as much; the
commonest label gives 0.522.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(
            text="sentence1", second="sentence2", labels=("entailment", "not_entailment")
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
