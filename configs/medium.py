"""BERT-medium: 8 layers of 512 (Turc et al. 2019).

    bertjax pretrain configs/medium.py --data DATA --run RUN

One accelerator; the published 1 million steps of 256 rows.
"""

from bertjax.config import Config, load_config


def get_config() -> Config:
    return load_config("miniature:num_layers=8,hidden_size=512")
