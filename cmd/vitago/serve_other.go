//go:build !unix

package main

import "os"

// hangups returns what never says anything: this system has no SIGHUP.
func hangups() (<-chan os.Signal, func()) { return nil, func() {} }
