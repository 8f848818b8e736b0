// Package brightness is a task: how bright a picture is.
package brightness

import "context"

// Interface is what measures brightness.
type Interface interface {
	// Brightness of the content of an image file: 0 is black, 1 is white.
	Brightness(ctx context.Context, image []byte) (float64, error)
}
