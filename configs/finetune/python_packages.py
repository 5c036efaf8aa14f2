"""Which package of Python's standard library is a paragraph of documentation from?

    python scripts/quickstart_task.py data/packages
    bertjax finetune python_packages --init RUN --train data/packages/train.tsv \\
        --dev data/packages/dev.tsv --run runs/packages

What scripts/quickstart.sh ends with: the tiny model that it has just pretrained, beside the same
model with random weights (`--scratch`). Half a minute each on two CPU cores.
"""

from bertjax.config import Classification, Config, DataConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        task=Classification(text="paragraph", label="package"),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-4, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=32, log_every=20),
    )
