"""BERT-large in a day on one machine: short rows, large batches, no next sentence.

    bertjax pretrain configs/budget_24_hours.py --data DATA --run RUN

Izsak, Berchansky and Levy 2021 (arXiv 2104.07705): 24 hours on 8 GPUs of 12 GB, "competitive with
BERT-base on GLUE". Settings as in the README of IntelLabs/academic-budget-bert (its best
configuration): rows of 128, 4,096 of them, AdamW at 1e-3, 6% warmup, beta2 0.98, weight decay 0.01,
dropout 0.1. Theirs stops by the clock; the 23,000 steps are those of Wettig et al. 2023
(princeton-nlp/DinkyTrain, run_efficient_mlm_recipe.sh), who follow it. 12.1 billion tokens.

Here: TPU v5e, 2x4 (8 chips of 16 GiB, one machine), 16 microbatches, less than 9 GB a chip
(`bertjax plan`); the whole run is 2.3e19 operations, so it ends within 24 hours from a utilisation
(MFU) of 17% on. What differs from the publication: the text is yours; layer norms come after the
residual, as in BERT. Theirs come before it, which allows 1e-3 and which this package does not have:
the rate here, 4e-4, is RoBERTa-large's (Liu et al. 2019, table 9). Also, gradients are clipped at 1
(theirs not at all). As a whole this recipe is untried.
"""

from bertjax.config import Config, DataConfig, OptimizerConfig, TrainConfig, load_config


def get_config() -> Config:
    return Config(
        model=load_config("large").model,
        data=DataConfig(length=128, pairs="none"),
        optimizer=OptimizerConfig(learning_rate=4e-4, warmup_share=0.06, beta2=0.98),
        train=TrainConfig(
            steps=23_000,
            batch_size=4_096,
            accumulation=16,
            log_every=20,
            evaluate_every=1_000,
            checkpoint_every=1_000,
        ),
    )
