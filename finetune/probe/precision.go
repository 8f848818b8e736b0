package probe

import (
	"cmp"
	"slices"
)

// AveragePrecision returns how well scores [N] tell the positives from the others, 0 to 1: the mean over the positives of the share
// of positives among all that score at least as much; 0 if there are none.
//
// Source: scikit-learn/scikit-learn, sklearn/metrics/_ranking.py, average_precision_score.
func AveragePrecision(scores []float64, positive []bool) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	sum, found, before := 0.0, 0, 0
	for at, i := range order {
		if positive[i] {
			found++
		}
		if next := at + 1; next < len(order) && scores[order[next]] == scores[i] {
			continue // one threshold for all that score alike
		}
		sum += float64(found-before) * float64(found) / float64(at+1)
		before = found
	}
	return sum / float64(max(1, found))
}

// MeanAveragePrecision returns the mean of [AveragePrecision] over the classes that have pictures, of scores [N,K] and the
// classes of each of N pictures; 0 if no class has any.
func MeanAveragePrecision(scores []float64, sets [][]int) float64 {
	n := len(sets)
	if n == 0 {
		return 0
	}
	k := len(scores) / n
	column, positive := make([]float64, n), make([]bool, n)
	sum, classes := 0.0, 0
	for c := range k {
		some := false
		for i, set := range sets {
			column[i], positive[i] = scores[i*k+c], slices.Contains(set, c)
			some = some || positive[i]
		}
		if some {
			sum += AveragePrecision(column, positive)
			classes++
		}
	}
	return sum / float64(max(1, classes))
}
