package main

import (
	"container/heap"
	"math"
	"math/rand/v2"
)

// A Simulation is a job whose pods are slow, stand still, or are killed.
//
// Everything is in seconds, and rates are a second and pod. Work that was begun and not finished is lost: a shard has no
// half-way point.
type Simulation struct {
	Shards   []float64 // what each shard takes a pod of full speed
	Pods     int
	Assigned bool    // each pod has a share of consecutive shards, as in an Indexed Job; otherwise each takes the next that nobody has
	Lease    float64 // without Assigned: how long after its last sign of life a pod's shard is taken over
	Start    float64 // of a pod until its first shard
	Replaced float64 // from a kill until the pod in its place starts
	Slow     float64 // share of the pods that are stragglers
	SlowBy   float64 // how many times as long these take
	Kills    float64 // rate at which a pod is killed
	Pauses   float64 // rate at which one stands still
	Pause    float64 // the mean of an exponential distribution of how long
	Errors   float64 // chance that an attempt fails at its end, and the shard is tried again
}

// An Outcome is what became of it.
type Outcome struct {
	End      float64 // when the last shard was done
	Tail     float64 // from the first pod without work to the end
	Work     float64 // of what counts
	Repeated float64 // of what was lost, or was done by two
	Busy     float64 // of all pods, starts included: what is paid for
	Kills    int
	Twice    int // shards that two pods finished
	Done     int // shards
}

// kinds of events
const (
	ready  = iota // a pod may take a shard
	ended         // an attempt at a shard is over
	killed        // a pod is gone
	stale         // nobody has heard of a shard's pod for a lease
)

type event struct {
	at         float64
	order      int // of events at the same time: that which was made first
	kind       int
	pod, shard int
	work       float64 // of the attempt
}

type events struct {
	all  []event
	made int
}

func (e *events) Len() int { return len(e.all) }
func (e *events) Less(i, j int) bool {
	a, b := e.all[i], e.all[j]
	return a.at < b.at || a.at == b.at && a.order < b.order
}
func (e *events) Swap(i, j int) { e.all[i], e.all[j] = e.all[j], e.all[i] }
func (e *events) Push(x any)    { e.all = append(e.all, x.(event)) }
func (e *events) Pop() any {
	last := e.all[len(e.all)-1]
	e.all = e.all[:len(e.all)-1]
	return last
}

func (e *events) add(v event) {
	e.made++
	v.order = e.made
	heap.Push(e, v)
}

// Run simulates the job. The same seed gives the same outcome.
func (s Simulation) Run(seed uint64) (o Outcome) {
	rng := rand.New(rand.NewPCG(seed, 0))
	after := func(rate float64) float64 { // the time to the next of events that come at a rate
		if rate == 0 {
			return math.Inf(1)
		}
		return rng.ExpFloat64() / rate
	}
	var (
		queue  = &events{}
		free   []int // shards that nobody has, without Assigned
		own    = make([][]int, s.Pods)
		done   = make([]bool, len(s.Shards))
		waits  []int // pods without work, without Assigned
		speeds = make([]float64, s.Pods)
		first  = math.Inf(1) // when the first pod had no work
	)
	for pod := range own {
		from, to := assigned(pod, s.Pods, len(s.Shards))
		for n := from; n < to; n++ {
			if s.Assigned {
				own[pod] = append(own[pod], n)
			} else {
				free = append(free, n)
			}
		}
	}
	// start begins a pod's life: it is ready, or is killed before.
	start := func(pod int, at float64) {
		speeds[pod] = 1
		if s.Slow > 0 && rng.Float64() < s.Slow {
			speeds[pod] = 1 / s.SlowBy
		}
		if k := after(s.Kills); k < s.Start {
			o.Busy += k
			queue.add(event{at: at + k, kind: killed, pod: pod, shard: -1})
			return
		}
		o.Busy += s.Start
		queue.add(event{at: at + s.Start, kind: ready, pod: pod})
	}
	// begin begins an attempt and says how it ends.
	begin := func(pod, shard int, at float64) {
		work := s.Shards[shard] / speeds[pod]
		end, lost := at+work, math.Inf(1) // lost: since when the pod has been silent for longer than a lease
		for t := after(s.Pauses); t < work; t += after(s.Pauses) {
			stands := rng.ExpFloat64() * s.Pause
			if stands > s.Lease && math.IsInf(lost, 1) {
				lost = end - work + t
			}
			end += stands
		}
		if k := at + after(s.Kills); k < end {
			o.Busy += k - at
			queue.add(event{at: k, kind: killed, pod: pod, shard: shard, work: min(work, k-at)})
			lost = min(lost, k)
		} else {
			o.Busy += end - at
			queue.add(event{at: end, kind: ended, pod: pod, shard: shard, work: work})
		}
		if !s.Assigned && !math.IsInf(lost, 1) {
			queue.add(event{at: lost + s.Lease, kind: stale, shard: shard})
		}
	}
	// next gives a pod its next shard.
	next := func(pod int, at float64) {
		from := &free
		if s.Assigned {
			from = &own[pod]
		}
		for len(*from) > 0 && done[(*from)[0]] {
			*from = (*from)[1:]
		}
		if len(*from) == 0 {
			if first = min(first, at); !s.Assigned {
				waits = append(waits, pod)
			}
			return
		}
		shard := (*from)[0]
		*from = (*from)[1:]
		begin(pod, shard, at)
	}
	// again puts a shard back.
	again := func(pod, shard int, at float64) {
		if s.Assigned {
			own[pod] = append([]int{shard}, own[pod]...)
			return
		}
		free = append(free, shard)
		if len(waits) > 0 {
			pod, waits = waits[0], waits[1:]
			queue.add(event{at: at, kind: ready, pod: pod})
		}
	}
	for pod := range own {
		if from, to := assigned(pod, s.Pods, len(s.Shards)); from < to { // the others have nothing to do
			start(pod, 0)
		}
	}
	for o.Done < len(s.Shards) {
		e := heap.Pop(queue).(event)
		switch e.kind {
		case ready:
			next(e.pod, e.at)
		case killed:
			o.Kills++
			o.Repeated += e.work
			if s.Assigned && e.shard >= 0 {
				again(e.pod, e.shard, e.at)
			}
			start(e.pod, e.at+s.Replaced)
		case stale:
			if !done[e.shard] {
				again(e.pod, e.shard, e.at)
			}
		case ended:
			switch {
			case done[e.shard]: // by another pod, which took over while this one stood still
				o.Twice++
				o.Repeated += e.work
			case s.Errors > 0 && rng.Float64() < s.Errors:
				o.Repeated += e.work
				again(e.pod, e.shard, e.at)
			default:
				done[e.shard] = true
				o.Done++
				o.Work += e.work
				o.End = e.at
			}
			next(e.pod, e.at)
		}
	}
	o.Tail = o.End - min(first, o.End)
	return o
}
