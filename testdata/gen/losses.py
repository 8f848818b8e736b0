"""Goldens of class weights and of labels that do not exclude each other. Writes tiny/losses.json.

"cross_entropy": torch's cross_entropy of "logits" [B,K] and "labels" [B] with "weight" [K] and "smoothing", and the gradient.
"bce": torch's binary_cross_entropy_with_logits of "logits" [B,K] and "targets" [B,K] with "pos_weight" [K], which may be null,
  and the gradient.
"average_precision": scikit-learn's average_precision_score of each column of "scores" [N,K] and "targets" [N,K], and their
  mean over the columns that have ones.
"logistic": scikit-learn's LogisticRegression(class_weight=...) of "x" [N,D] and "y" [N] for "lambda", which is 1/C: "weights" [K] of
  the classes (those of "balanced" by compute_class_weight), "coef" and "intercept" (one row for two classes), and of these the
  log_loss and accuracy_score with the weights as sample_weight.
"one_vs_rest": LogisticRegression of each column of "targets" [N,K] by itself, the ones weighing "weights" [K]: "coef" [K,D],
  "intercept" [K], and "loss", the mean over pictures of the sums over classes of the weighted losses, without penalty.

torch 2.9.1, scikit-learn 1.7.2; torch 2.15.0 and scikit-learn 1.9.1 write the same file."""

import json
import pathlib
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, log_loss
from sklearn.utils.class_weight import compute_class_weight

OUT = pathlib.Path(__file__).parent.parent / "tiny" / "losses.json"


def plain(x):
    return np.asarray(x, np.float64).tolist()


def graded(logits, loss):
    x = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    y = loss(x)
    y.backward()
    return y.item(), plain(x.grad)


def cross_entropy(logits, labels, weight, smoothing):
    loss, gradient = graded(logits, lambda x: torch.nn.functional.cross_entropy(
        x, torch.tensor(labels), weight=torch.tensor(weight, dtype=torch.float64), label_smoothing=smoothing))
    return {"logits": plain(logits), "labels": labels, "weight": weight, "smoothing": smoothing, "loss": loss, "gradient": gradient}


def bce(logits, targets, weight):
    loss, gradient = graded(logits, lambda x: torch.nn.functional.binary_cross_entropy_with_logits(
        x, torch.tensor(targets, dtype=torch.float64), pos_weight=None if weight is None else torch.tensor(weight, dtype=torch.float64)))
    return {"logits": plain(logits), "targets": plain(targets), "pos_weight": weight, "loss": loss, "gradient": gradient}


def average_precision(scores, targets):
    there = targets.any(0)
    each = [average_precision_score(targets[:, k], scores[:, k]) if there[k] else None for k in range(len(there))]
    return {"scores": plain(scores), "targets": plain(targets), "each": each, "mean": float(np.mean([v for v in each if v is not None]))}


def fit(x, y, lam, weight):
    m = LogisticRegression(C=1 / lam, class_weight=weight, tol=1e-10, max_iter=100000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m.fit(x, y)
        m.set_params(solver="newton-cholesky", warm_start=True).fit(x, y)
    return m


def logistic(x, y, lam, weight):
    classes = np.unique(y)
    weights = compute_class_weight("balanced", classes=classes, y=y) if weight == "balanced" else np.float64([weight[k] for k in classes])
    m = fit(x, y, lam, weight)
    each = weights[y]
    return {"x": plain(x), "y": y.tolist(), "lambda": lam, "balanced": weight == "balanced", "weights": plain(weights), "coef": plain(m.coef_),
            "intercept": plain(m.intercept_), "loss": log_loss(y, m.predict_proba(x), sample_weight=each), "accuracy": accuracy_score(y, m.predict(x), sample_weight=each)}


def one_vs_rest(x, targets, lam, weights):
    ms = [fit(x, targets[:, k], lam, {0: 1.0, 1: w}) for k, w in enumerate(weights)]
    loss = sum(log_loss(targets[:, k], m.predict_proba(x), sample_weight=np.where(targets[:, k] == 1, weights[k], 1.0), normalize=False)
               for k, m in enumerate(ms)) / len(x)
    return {"x": plain(x), "targets": plain(targets), "lambda": lam, "weights": weights, "coef": plain(np.concatenate([m.coef_ for m in ms])),
            "intercept": plain(np.concatenate([m.intercept_ for m in ms])), "loss": loss}


def main():
    r = np.random.default_rng(14)
    f32 = lambda *shape: np.float64(np.float32(r.standard_normal(shape)))
    logits, labels = f32(6, 4) * 3, [2, 0, 3, 2, 1, 2]
    targets = np.float64(r.random((6, 4)) < 0.4)
    targets[2] = 0
    wide = np.array([[60.0, -60.0], [-200.0, 200.0]])
    scores = np.float64(np.float32(r.random((25, 4))))
    scores[:, 1] = np.round(scores[:, 1] * 4) / 4  # ties
    several = (r.random((25, 4)) < 0.3).astype(int)
    several[:, 3] = 0
    y3 = np.repeat(np.arange(3), [30, 8, 4])
    x3 = np.float64(np.float32(f32(3, 5)[y3] + 0.8 * f32(len(y3), 5)))
    y2 = np.repeat(np.arange(2), [30, 6])
    x2 = np.float64(np.float32(f32(2, 4)[y2] + f32(len(y2), 4)))
    x, t = f32(40, 3), (r.random((40, 3)) < [0.5, 0.25, 0.15]).astype(int)
    OUT.write_text(json.dumps({
        "cross_entropy": [cross_entropy(logits, labels, [0.5, 2.0, 1.25, 4.0], s) for s in (0.0, 0.1)],
        "bce": [bce(logits, targets, None), bce(logits, targets, [0.5, 2.0, 1.25, 4.0]), bce(wide, np.array([[1.0, 1.0], [1.0, 0.0]]), [1.0, 3.0])],
        "average_precision": [average_precision(scores, several)],
        "logistic": [logistic(x3, y3, 0.5, "balanced"), logistic(x3, y3, 3.0, {0: 1.0, 1: 2.5, 2: 1.0}), logistic(x2, y2, 0.5, "balanced")],
        "one_vs_rest": [one_vs_rest(x, t, 0.7, [1.0, 1.0, 1.0]), one_vs_rest(x, t, 0.7, [1.0, 3.0, 5.5])],
    }, separators=(",", ":")) + "\n")


main()
