//go:build !unix

package shardtest

import (
	"errors"
	"os"
)

const canPause = false

func stop(*os.Process) error    { return errors.ErrUnsupported }
func proceed(*os.Process) error { return errors.ErrUnsupported }
