"""Korean on one GPU: 4 layers of 256, with a SentencePiece vocabulary of 8,002.

bertjax prepare --corpus ko.txt.gz --tokenizer sentencepiece --vocab-size 8002 --output DATA
bertjax pretrain configs/korean_four_layers.py --data DATA --run RUN
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
            steps=5000,
            batch_size=256,
            log_every=250,
            evaluate_every=2500,
            checkpoint_every=2500,
        ),
    )
