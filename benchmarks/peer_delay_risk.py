"""scikit-learn's HistGradientBoosting on the rows that `delay_risk` writes for it; runs in the peers' environment.

Argument: a folder with `learn.npy` and `judge.npy` (rows × columns, missing values nan, texts as numbers),
`label.npy` and `categories.json`, which columns were texts. Writes `answers.npy` and prints its seconds as JSON.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

REPEATS = 3


def main(folder: Path) -> None:
    learn, label, judge = (np.load(folder / f"{name}.npy") for name in ("learn", "label", "judge"))
    categories = json.loads((folder / "categories.json").read_text())
    training, answering = [], []
    for _ in range(REPEATS):
        model = HistGradientBoostingClassifier(categorical_features=categories, random_state=0)
        began = time.perf_counter()
        model.fit(learn, label)
        trained = time.perf_counter()
        answers = model.predict_proba(judge)[:, 1]
        training.append(trained - began)
        answering.append(time.perf_counter() - trained)
    np.save(folder / "answers.npy", answers)
    seconds = {"training": statistics.median(training), "answering": statistics.median(answering)}
    print(json.dumps({"version": sklearn.__version__, **seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
