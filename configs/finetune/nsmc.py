r"""NSMC: is a Korean film review positive (1) or negative (0)?

    bertjax finetune configs/finetune/nsmc.py --init CHECKPOINT --train train.tsv --dev dev.tsv \
        --run RUN
    bertjax evaluate RUN --data ratings_test.txt

The columns are those of the published `ratings_train.txt` and `ratings_test.txt`; train.tsv and
dev.tsv are parts of the first, each with its header. Scored by accuracy.

Learning rate and epochs are for a model of BERT-base's size. Measured with `korean_four_layers` (4
layers of 256; Wikipedia, then unlabelled reviews), 2,000 labelled reviews and
`--optimizer.learning_rate=3e-4`, three seeds: 0.784 ± 0.004, from scratch 0.745 ± 0.006 in six
epochs; after Wikipedia alone 0.726 (one seed). With `korean_two_layers`, all of it on two CPU
cores: 0.778 ± 0.003 and 0.737 ± 0.004.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="document", labels=("0", "1")),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32),
    )
