import unittest

from shop.cart import CARTS, average, summary, total


class CartTest(unittest.TestCase):
    def test_the_total_is_the_sum(self) -> None:
        self.assertEqual(total([1250, 399]), 1649)

    def test_a_cart_is_summed_up(self) -> None:
        self.assertEqual(summary(CARTS["ada"])["items"], 2)

    def test_the_average_is_between_the_prices(self) -> None:
        self.assertEqual(average([100, 300]), 200)


if __name__ == "__main__":
    unittest.main()
