package projector

// Picture is the picture of the scripts in testdata/gen, for the tests of package projector_test.
var Picture = picture
