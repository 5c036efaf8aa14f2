"""Which package of the standard library is a paragraph of documentation about?

    python scripts/quickstart_task.py data/packages
    bertjax finetune configs/finetune/python_package.py --init CHECKPOINT \\
        --train data/packages/train.tsv --dev data/packages/dev.tsv --run RUN

What scripts/quickstart.sh ends with: the tiny model that it has just pretrained, beside the same
model with random weights (`--scratch`). There are only 20 labelled paragraphs of each package.

Measured with Python 3.11, accuracy on the dev file: 0.560 ± 0.016 pretrained (three seeds of
pretraining, three of fine-tuning each), 0.443 ± 0.036 from scratch (three seeds); counting words
gives 0.559.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="text", label="package"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_share=0.1),
        train=TrainConfig(epochs=20, batch_size=16, log_every=20),
    )
