//go:build !linux && !purego

package kernel

// allowAMX says no: how to ask is known of Linux only.
func allowAMX() bool { return false }
