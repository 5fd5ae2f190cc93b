"""What is in a cart, in cents."""

CARTS: dict[str, list[int]] = {
    "ada": [1250, 399],
    "grace": [8900],
    "new": [],
}


def total(prices: list[int]) -> int:
    """Return the sum of all prices."""
    return sum(prices)


def average(prices: list[int]) -> float:
    """Return the mean price of a cart."""
    return sum(prices) / len(prices)


def summary(prices: list[int]) -> dict[str, object]:
    """Return what a customer sees of a cart."""
    return {"items": len(prices), "total": total(prices), "average": average(prices)}
