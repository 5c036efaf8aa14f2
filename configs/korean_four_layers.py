"""Korean on one GPU: 4 layers of 256, with a SentencePiece vocabulary of 8,002.

    bertjax prepare --corpus ko.txt.gz --tokenizer sentencepiece --vocab-size 8002 --output DATA
    bertjax pretrain configs/korean_four_layers.py --data DATA --run RUN

Measured on an H200 with 14 MB of Korean Wikipedia (3.2 million tokens), one seed, stopped after
3,311 steps and 52 seconds, in which it read 106 million tokens: mlm_loss 4.02, mlm_accuracy 0.305,
nsp_accuracy 0.881. Rate and batch were not tuned; `korean_two_layers.py` is for a CPU.
"""

from bertjax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainConfig


def get_config() -> Config:
    return Config(
        model=ModelConfig(
            num_layers=4,
            hidden_size=256,
            num_heads=4,
            intermediate_size=1024,
            vocab_size=8_002,
            max_length=128,
        ),
        data=DataConfig(length=128),
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=500, beta2=0.98),
        train=TrainConfig(
            steps=4000,
            batch_size=256,
            log_every=250,
            evaluate_every=1000,
            checkpoint_every=1000,
        ),
    )
