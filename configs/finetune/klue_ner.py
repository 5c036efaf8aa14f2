"""KLUE-NER: people, places, organisations, dates, times and quantities in Korean, by character.

    bertjax finetune configs/finetune/klue_ner.py --init CHECKPOINT \\
        --train train.tsv --dev dev.tsv --run RUN

A piece of the vocabulary gives all its characters to one entity or to none. Where an entity ends
inside a piece, that is wrong: with the right label for every piece F1 is 0.953 with 8,000
SentencePiece pieces of Korean Wikipedia, 0.894 with 32,000, and 0.839 with 8,000 of WordPiece.

Learning rate and epochs are for a model of BERT-base's size. Measured with `korean_four_layers` (4
layers of 256) and `--optimizer.learning_rate=5e-4 --train.epochs=6`: F1 0.640 ± 0.001 (three
seeds), from scratch 0.484 (eight epochs at 1e-3, one seed). That is F1 of all entities; KLUE's own
is the mean over the types (`--task.metric=macro_f1`), 0.650 with one of these seeds.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, Tagging, TrainConfig


def get_config() -> Config:
    return Config(
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=5, batch_size=32, log_every=20),
        task=Tagging(layout="klue"),
    )
