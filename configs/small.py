"""BERT-small: 4 layers of 512 (Turc et al. 2019).

    bertjax pretrain configs/small.py --data DATA --run RUN

One accelerator; the published 1 million steps of 256 rows.
"""

from bertjax.config import Config, load_config


def get_config() -> Config:
    return load_config("miniature:num_layers=4,hidden_size=512")
