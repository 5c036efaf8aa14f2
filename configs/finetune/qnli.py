r"""QNLI: does a sentence answer a question? English (from SQuAD; GLUE, Wang et al. 2018).

    bertjax finetune configs/finetune/qnli.py --init CHECKPOINT --train train.tsv \
        --dev dev.tsv --run RUN

The columns are GLUE's, `question`, `sentence` and `label`; `tfds:glue/qnli@train` and
`tfds:glue/qnli@validation` do in place of files. Scored by accuracy.

The recipe is in the range of the BERT paper (appendix A.3: 5e-5, 3e-5 or 2e-5, 2 to 4 epochs). Not
measured by us. Published for BERT-base: 90.5 (table 1, by GLUE's server).
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(
            text="question", second="sentence", labels=("entailment", "not_entailment")
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=3e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
