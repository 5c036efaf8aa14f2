"""KorQuAD 1.0: questions on Korean Wikipedia, scored by KorQuAD's own rules (F1 of characters).

    bertjax finetune configs/finetune/korquad.py --init CHECKPOINT --train FILE --dev FILE --run RUN

Learning rate and epochs are those of SQuAD 1.1. Particles that the vocabulary keeps in one piece
with their word are left out of an answer: with 8,000 pieces trained on the training file's contexts
a model that is sure of every right token reaches 98% exact match on dev; without this rule 93%
(SentencePiece) or 75% (WordPiece). It also cuts nouns that end like a particle: with the pieces of
Korean Wikipedia 8 of 1,062 such answers became wrong by it, and 94 right. A model with fewer
positions takes shorter windows: `--data.length=128`.

Measured with `korean_four_layers` (4 layers of 256), one seed, `--data.length=128
--optimizer.learning_rate=5e-4`: F1 of characters 19.5%, from scratch 11.6%.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, QuestionAnswering, TrainConfig

PARTICLES = ("을", "를", "은", "는", "이", "가", "의", "에", "에서", "에게", "로", "으로")
PARTICLES += ("와", "과", "까지", "부터")


def get_config() -> Config:
    return Config(
        data=DataConfig(length=384),
        optimizer=OptimizerConfig(learning_rate=5e-5, warmup_share=0.1),
        train=TrainConfig(epochs=3, batch_size=16),
        task=QuestionAnswering(rules="korquad", particles=PARTICLES),
    )
