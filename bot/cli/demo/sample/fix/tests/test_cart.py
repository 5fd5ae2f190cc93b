from shop.cart import average, total


def test_the_total_is_the_sum() -> None:
    assert total([1250, 399]) == 1649


def test_an_empty_cart_has_an_average_of_nothing() -> None:
    assert average([]) == 0.0
