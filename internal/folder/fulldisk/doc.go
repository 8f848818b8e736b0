// Package fulldisk makes writing fail in tests as a full disk does, in the middle of a file.
package fulldisk
