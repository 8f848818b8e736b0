"""Goldens of finetune/probe: what scikit-learn's LogisticRegression finds on made-up features.

Writes tiny/probe.npz. For the problems `three` (3 classes, overlapping), `two` (2 classes, which scikit-learn fits with one
row of weights) and `skewed` (4 classes of 80, 30, 8 and 2 examples, columns of scales from 0.1 to 10):
  NAME/x [N,D] float32, NAME/y [N], NAME/lambda [R]
  NAME/coef [R,K,D] (or [R,1,D]), NAME/intercept [R,K] (or [R,1]), NAME/probabilities [R,N,K], NAME/loss [R] (mean, without penalty)
all for each lambda, which is 1/C. They are the optimum: the gradient is below 1e-10.

And the sweep of the CLIP paper (Radford et al. 2021, appendix A.3) on `sweep`, by training on the first part and choosing
on the second; ties of accuracy go to the smaller loss:
  sweep/{x,y,x_validation,y_validation}
  sweep/exponent [97], sweep/accuracy [97], sweep/loss [97]: of lambda = 10**exponent, the whole grid
  sweep/tried: the exponents that the search tries, in its order; sweep/best: the one that it chooses
"""

import os
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import common


def fit(x, y, lam, tol=1e-10):
    m = LogisticRegression(C=1 / lam, tol=tol, max_iter=100000, solver="lbfgs")
    # L-BFGS stops where its sums no longer show a descent; Newton's method goes on from there.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m.fit(x.astype(np.float64), y)
        lbfgs = m.coef_.copy()
        m.set_params(solver="newton-cholesky", warm_start=True).fit(x.astype(np.float64), y)
    assert np.abs(m.coef_ - lbfgs).max() < 2e-5 * max(1, np.abs(lbfgs).max()), (lam, np.abs(m.coef_ - lbfgs).max())
    return m


def clusters(rng, counts, d, spread):
    centres = rng.standard_normal((len(counts), d))
    y = np.repeat(np.arange(len(counts)), counts)
    x = centres[y] + spread * rng.standard_normal((len(y), d))
    order = rng.permutation(len(y))
    return x[order].astype(np.float32), y[order].astype(np.int64)


def problem(out, name, x, y, lambdas):
    ms = [fit(x, y, lam) for lam in lambdas]
    p = [m.predict_proba(x.astype(np.float64)) for m in ms]
    out.update({
        name + "/x": x, name + "/y": y, name + "/lambda": np.float64(lambdas),
        name + "/coef": np.stack([m.coef_ for m in ms]), name + "/intercept": np.stack([m.intercept_ for m in ms]),
        name + "/probabilities": np.stack(p).astype(np.float32), name + "/loss": np.float64([log_loss(y, q) for q in p]),
    })


def sweep(out, x, y, xv, yv):
    exponents = np.arange(-48, 49) / 8
    accuracy, loss = {}, {}
    for e in exponents:
        m = fit(x, y, 10.0**e)
        accuracy[e] = m.score(xv.astype(np.float64), yv)
        loss[e] = log_loss(yv, m.predict_proba(xv.astype(np.float64)))
    key = lambda e: (accuracy[e], -loss[e])
    tried = [-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0]
    step = 2.0
    while step > 1 / 8:
        step /= 2
        best = max(tried, key=key)
        tried += [e for e in (best - step, best + step) if -6 <= e <= 6]
    best = max(tried, key=key)
    print("sweep: best %g of %d tried, accuracy %.4f, over the whole grid %.4f" % (best, len(tried), accuracy[best], max(accuracy.values())))
    ranked = sorted(map(key, tried), reverse=True)
    assert ranked[0] != ranked[1]
    out.update({
        "sweep/x": x, "sweep/y": y, "sweep/x_validation": xv, "sweep/y_validation": yv, "sweep/exponent": exponents,
        "sweep/accuracy": np.float64([accuracy[e] for e in exponents]), "sweep/loss": np.float64([loss[e] for e in exponents]),
        "sweep/tried": np.float64(tried), "sweep/best": np.float64([best]),
    })


if __name__ == "__main__":
    rng = np.random.Generator(np.random.PCG64(11))
    out = {}
    x, y = clusters(rng, [25, 25, 25], 6, 1.6)
    problem(out, "three", x, y, [1e-2, 1, 100])
    x, y = clusters(rng, [30, 20], 5, 1.5)
    problem(out, "two", x, y, [1e-1, 3])
    x, y = clusters(rng, [80, 30, 8, 2], 7, 1.2)
    x = x * np.geomspace(0.1, 10, 7).astype(np.float32) + np.float32(0.3)
    problem(out, "skewed", x, y, [1e-1, 1])
    x, y = clusters(rng, [52] * 5, 12, 2.2)  # no plane separates them, so that the smallest lambda has an optimum too
    sweep(out, x[:160], y[:160], x[160:], y[160:])
    common.savez(os.path.join(common.TINY, "probe.npz"), out)
