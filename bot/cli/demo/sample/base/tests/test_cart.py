from shop.cart import total


def test_the_total_is_the_sum() -> None:
    assert total([1250, 399]) == 1649
