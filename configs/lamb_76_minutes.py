"""BERT-large in 8,601 steps: LAMB with batches of 65,536 rows, then 32,768.

    bertjax pretrain configs/lamb_76_minutes.py --data DATA --run RUN

You et al. 2020 (arXiv 1904.00962), section 4.1, "mixed-batch training": rows of 128 for nine tenths
of the epochs, rows of 512 for the last tenth, the learning rate warmed up anew for the second
stage; 8,599 steps, 76 minutes on a TPUv3 Pod of 1,024 chips, SQuAD 1.1 F1 90.58 (table 1). The
steps, rates and warmups of the two stages are those of NVIDIA's reproduction (DeepLearningExamples,
PyTorch/LanguageModeling/BERT/scripts/configs/pretrain_config.sh): 7,038 steps at 6e-3 (28.43% of
them warmup), then 1,563 at 4e-3 (12.8%). 512 million rows, as their baseline of 1 million steps of
512. Weight decay 0.01.

Here: TPU v5e, 16x16 (256 chips of 16 GiB), 16 microbatches, less than 9 GB a chip (`bertjax plan`),
85 billion tokens. What differs from the publication: the text is yours; short pairs share a row;
each stage falls linearly, as the paper says (NVIDIA: by the square root), from the end of its
warmup, which ends on the paper's line, the rate times 1 - step / steps; the second keeps the
optimizer's moments; gradients are clipped at 1; biases and layer norms take the plain step (trust
ratio 1).
"""

from typing import Any

from bertjax.config import Config, DataConfig, OptimizerConfig, Phase, TrainConfig, load_config


def _stage(steps: int, rate: float, warmup_steps: int, **others: Any) -> Phase:
    """A stage whose rate is `rate` times 1 - step / steps from the end of its warmup on."""
    peak = rate * (1 - warmup_steps / steps)
    return Phase(steps, learning_rate=peak, warmup_steps=warmup_steps, **others)


def get_config() -> Config:
    return Config(
        model=load_config("large").model,
        data=DataConfig(length=128),
        # The phases have rates and warmups of their own; these are for a run without them.
        optimizer=OptimizerConfig(name="lamb", learning_rate=6e-3, warmup_steps=800),
        train=TrainConfig(
            batch_size=65_536,
            accumulation=16,
            phases=(
                _stage(7_038, 6e-3, 2_000, length=128, batch_size=65_536),
                _stage(1_563, 4e-3, 200, length=512, batch_size=32_768, restart_schedule=True),
            ),
            log_every=10,
            evaluate_every=500,
            checkpoint_every=500,
        ),
    )
