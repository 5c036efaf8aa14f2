"""KLUE-NER: people, places, organisations, dates, times and quantities in Korean, by character.

    bertjax finetune configs/finetune/klue_ner.py --init CHECKPOINT \\
        --train train.tsv --dev test.tsv --run RUN

An entity may end inside a piece of the vocabulary: no model of such pieces reaches an F1 of 1.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Tagging, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=5, batch_size=32, log_every=20),
        task=Tagging(layout="klue"),
    )
