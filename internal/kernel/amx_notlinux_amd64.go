//go:build !linux && !purego

package kernel

// allowAMX returns false: only for Linux is the request known.
func allowAMX() bool { return false }
