"""JSON that any reader takes."""

import json
import math

from bertjax.json_text import dump_json


def test_what_is_not_finite_is_null_wherever_it_stands():
    value = {"f1": math.nan, "rows": [{"loss": math.inf}, (1.5, -math.inf)], "text": "NaN"}
    expected = {"f1": None, "rows": [{"loss": None}, [1.5, None]], "text": "NaN"}
    assert json.loads(dump_json(value)) == expected


def test_the_rest_is_written_as_json_does():
    value = {"label": "긍정", "figures": [1, 0.1, True, None]}
    assert dump_json(value, indent=2) == json.dumps(value, indent=2)
