import unittest

from shop.cart import CARTS, summary, total


class CartTest(unittest.TestCase):
    def test_the_total_is_the_sum(self) -> None:
        self.assertEqual(total([1250, 399]), 1649)

    def test_a_cart_is_summed_up(self) -> None:
        self.assertEqual(summary(CARTS["ada"])["items"], 2)


if __name__ == "__main__":
    unittest.main()
