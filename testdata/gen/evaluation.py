"""Goldens of finetune/evaluation: what scikit-learn's metrics say of fixed scores. Writes tiny/evaluation.json.

"single" are pictures of one class each. Of each case: "scores" [N,K], whose rows are probabilities, "labels" [N], and
  accuracy    accuracy_score of the first of the largest scores, as numpy's argmax takes it
  top         top_k_accuracy_score for k of 1 to K-1. It gives ties to the class of the higher index, argmax to the lower: columns
              are given to it in reverse, so that both say the lower
  loss        log_loss, with the clipping left out (no probability is 0 here)
  classes     precision, recall, f1, support of each class by precision_recall_fscore_support, zero_division=0
  macro       the means of these over the classes that have pictures (labels=those)
  balanced    balanced_accuracy_score, which is the mean of the recalls
  confusion   confusion_matrix, rows are the labels

"multi" are pictures of several labels. Of each case: "scores" [N,K], probabilities one by one, "labels" [N,K] of 0 and 1, and
  ap          average_precision_score of each label, null for one without pictures
  map         their mean over the labels that have pictures
  labels_f1   precision, recall, f1 of each label, a label counting as said above 0.5; macro (of those with pictures), micro
  exact       accuracy_score, the share of pictures all of whose labels are right
  loss        the mean of log_loss of all labels of all pictures

scikit-learn 1.7.2; 1.9.1 writes the same file."""

import json
import pathlib
import warnings

import numpy as np
from sklearn import metrics

OUT = pathlib.Path(__file__).parent.parent / "tiny" / "evaluation.json"


def plain(x):
    return np.asarray(x).tolist()


def single(name, scores, labels):
    scores, labels = np.float64(scores), np.int64(labels)
    k = scores.shape[1]
    every = np.arange(k)
    got = scores.argmax(1)
    there = [c for c in every if (labels == c).any()]
    p, r, f, n = metrics.precision_recall_fscore_support(labels, got, labels=every, zero_division=0)
    macro = metrics.precision_recall_fscore_support(labels, got, labels=there, average="macro", zero_division=0)[:3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # classes without pictures
        balanced = metrics.balanced_accuracy_score(labels, got)
        # Of two classes it wants the score of the second.
        top = [metrics.top_k_accuracy_score(k - 1 - labels, scores[:, ::-1], k=n, labels=every) if k > 2 else metrics.accuracy_score(labels, got)
               for n in range(1, k)]
    assert abs(balanced - macro[1]) < 1e-15
    return {
        "name": name, "scores": plain(scores), "labels": plain(labels), "accuracy": metrics.accuracy_score(labels, got), "top": plain(top),
        "loss": metrics.log_loss(labels, scores, labels=every),
        "classes": [{"precision": a, "recall": b, "f1": c, "support": int(d)} for a, b, c, d in zip(p, r, f, n)],
        "macro": {"precision": macro[0], "recall": macro[1], "f1": macro[2]}, "balanced": balanced,
        "confusion": plain(metrics.confusion_matrix(labels, got, labels=every)),
    }


def multi(name, scores, labels):
    scores, labels = np.float64(scores), np.int64(labels)
    said = (scores > 0.5).astype(np.int64)
    there = np.flatnonzero(labels.any(0))
    ap = [metrics.average_precision_score(labels[:, i], scores[:, i]) if labels[:, i].any() else None for i in range(labels.shape[1])]
    p, r, f, n = metrics.precision_recall_fscore_support(labels, said, zero_division=0)
    macro = metrics.precision_recall_fscore_support(labels, said, labels=there, average="macro", zero_division=0)[:3]
    micro = metrics.precision_recall_fscore_support(labels, said, average="micro", zero_division=0)[:3]
    names = "precision", "recall", "f1"
    return {
        "name": name, "scores": plain(scores), "labels": plain(labels), "ap": ap, "map": float(np.mean([a for a in ap if a is not None])),
        "labels_f1": [{"precision": a, "recall": b, "f1": c, "support": int(d)} for a, b, c, d in zip(p, r, f, n)],
        "macro": dict(zip(names, macro)), "micro": dict(zip(names, micro)), "exact": metrics.accuracy_score(labels, said),
        "loss": metrics.log_loss(labels.ravel(), scores.ravel(), labels=[0, 1]),
    }


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def main():
    r = np.random.default_rng(14)

    def likely(n, k, absent=(), bias=1.0):
        labels = r.choice([c for c in range(k) if c not in absent], n)
        x = r.standard_normal((n, k))
        x[np.arange(n), labels] += bias
        return softmax(x), labels

    cases = [single("six classes", *likely(60, 6)), single("two classes", *likely(25, 2)), single("nearly right", *likely(40, 8, bias=4))]
    cases.append(single("classes 1 and 4 have no pictures", *likely(50, 6, absent=(1, 4))))
    scores, labels = likely(40, 5)
    scores[:, 2] = 0.01
    scores /= scores.sum(1, keepdims=True)
    labels[:4] = 2
    cases.append(single("class 2 is never said", scores, labels))
    cases.append(single("all scores are alike", np.full((12, 4), 0.25), np.arange(12) % 4))
    tied = r.integers(1, 4, (80, 6)) / 8.0  # eighths: sums are exact
    tied /= tied.sum(1, keepdims=True)
    cases.append(single("many ties", tied, r.integers(0, 6, 80)))
    cases.append(single("one picture", [[0.25, 0.5, 0.25]], [2]))
    cases.append(single("all of one class", likely(10, 3)[0], np.zeros(10)))
    cases.append(single("all wrong", [[0.75, 0.125, 0.125], [0.125, 0.75, 0.125], [0.125, 0.125, 0.75]], [1, 2, 0]))

    several = []
    labels = (r.random((60, 5)) < 0.3).astype(int)
    several.append(multi("five labels", 1 / (1 + np.exp(-(r.standard_normal((60, 5)) + 2 * labels - 1))), labels))
    labels = (r.random((30, 4)) < 0.4).astype(int)
    labels[:, 1] = 0
    labels[:3] = 0
    several.append(multi("label 1 has no pictures, three pictures no label", 1 / (1 + np.exp(-r.standard_normal((30, 4)))), labels))
    several.append(multi("many ties", r.integers(1, 8, (50, 3)) / 8.0, (r.random((50, 3)) < 0.5).astype(int)))
    several.append(multi("nothing is said", np.full((8, 2), 0.25), [[1, 0], [0, 1]] * 4))
    several.append(multi("all are said, and right", np.full((5, 2), 0.75), np.ones((5, 2))))
    OUT.write_text(json.dumps({"single": cases, "multi": several}, indent=None, separators=(",", ":")) + "\n")


main()
