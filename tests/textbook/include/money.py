def in_euros(cents: int) -> float:
    return cents / 100
