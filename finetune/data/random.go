package data

import (
	"math/bits"
	"math/rand/v2"
)

// A stream is a sequence of random numbers. Its methods are ours since those of rand.Rand may change
// with a version of Go, and a run that goes on must see the numbers that it saw before; the generator
// under them, PCG, may not.
type stream struct{ pcg rand.PCG }

// What a stream is for: numbers of different kinds do not depend on each other.
const (
	orderStream   = iota + 1 // of the samples in an epoch
	augmentStream            // of a picture in an epoch
	splitStream              // of a class
)

// newStream returns the stream of a seed and what else it depends on.
func newStream(seed uint64, kinds ...uint64) *stream {
	s := &stream{}
	hi, lo := mix(seed), mix(seed+1)
	for _, k := range kinds {
		hi, lo = mix(hi^k), mix(lo+k)
	}
	s.pcg.Seed(hi, lo)
	return s
}

// mix makes numbers that are close unlike each other.
// Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014; SplitMix64.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns a multiple of 2⁻⁵³ from 0 to below 1.
func (s *stream) uniform() float64 { return float64(s.pcg.Uint64()>>11) / (1 << 53) }

// below returns a number from 0 to n-1. None is likelier than another by more than n·2⁻⁶⁴.
func (s *stream) below(n int) int {
	hi, _ := bits.Mul64(s.pcg.Uint64(), uint64(n))
	return int(hi)
}

// shuffle puts v in a random order. Source: Fisher and Yates, as in Knuth's Algorithm P.
func (s *stream) shuffle(v []int) {
	for i := len(v) - 1; i > 0; i-- {
		j := s.below(i + 1)
		v[i], v[j] = v[j], v[i]
	}
}
