// Package evaluation judges a classifier by labelled pictures: accuracy, top 5, each class, the confusion matrix, and the
// pictures that it is most sure of and wrong about.
//
//	clip.Classifier, data.Dataset ──▶ Run ──────▶ Result ──▶ Page (Markdown), CSV, JSON, Sheet (a contact sheet)
//	probabilities from elsewhere  ──▶ Tally.Add ──┘
//
// Where the labels of a picture do not exclude each other, each is judged by itself: average precision, recall, precision
// and F1.
//
// The numbers are those of scikit-learn's metrics. Where two classes are as probable, the one that comes first in the
// classifier's list counts as the more probable; so it is in numpy's argmax.
package evaluation
