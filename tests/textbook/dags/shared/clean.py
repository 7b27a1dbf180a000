import pandas as pd


def without_empty(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.dropna()
