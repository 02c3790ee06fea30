"""What the checks say to a person."""

import numpy as np
import pytest

from lipflow.checks import InputError, check_shape, check_values
from lipflow.serial import from_json
from lipflow.training_config import TrainConfig


def test_letters_bind_across_arguments_and_calls():
    bound: dict[str, int] = {}
    check_shape(bound, z=(np.zeros((4, 256)), "B Z"), vertices=(np.zeros((4, 10, 3)), "B V 3"))
    assert bound == {"B": 4, "Z": 256, "V": 10}
    with pytest.raises(InputError, match=r"view: expected \[B, 3\], got \[5, 3\] \(with B=4\)"):
        check_shape(bound, view=(np.zeros((5, 3)), "B 3"))
    assert bound["B"] == 4


def test_open_front_takes_any_leading_dimensions():
    bound: dict[str, int] = {}
    check_shape(bound, points=(np.zeros((2, 5, 7, 3)), "... N 3"))
    assert bound == {"N": 7}


def test_numbers_must_be_met():
    with pytest.raises(InputError, match="keypoints"):
        check_shape({}, keypoints=(np.zeros((135, 2)), "136 2"))


def test_a_failed_check_binds_nothing():
    bound: dict[str, int] = {}
    with pytest.raises(InputError):
        check_shape(bound, image=(np.zeros((4, 2)), "B 3"))
    assert bound == {}


def test_the_first_value_that_is_wrong_is_named():
    check_values(("steps", True, "1 or more", 5))
    with pytest.raises(InputError, match=r"^clip: expected more than 0, got -1$"):
        check_values(
            ("steps", True, "1 or more", 5), ("clip", False, "more than 0", -1), ("seed", False, "a number", "x")
        )


@pytest.mark.parametrize("value", [pytest.param(10**400, id="huge"), float("nan"), float("inf"), True, "1"])
def test_a_config_takes_no_number_that_is_none(value):
    with pytest.raises(InputError, match=r"config\.learning_rate: expected float, got"):
        from_json(TrainConfig, {"learning_rate": value}, what="config")
