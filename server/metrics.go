package server

import (
	"cmp"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/vitago/vitago/server/engine"
)

// metrics are those of a server, in a registry of their own.
type metrics struct {
	registry *prometheus.Registry

	requests *prometheus.CounterVec   // route, method, status
	seconds  *prometheus.HistogramVec // route
	errors   *prometheus.CounterVec   // kind
	panics   prometheus.Counter
	reloads  prometheus.Counter

	batchItems   *prometheus.HistogramVec // model
	batchSeconds *prometheus.HistogramVec // model
	waited       *prometheus.HistogramVec // model
	loads        *prometheus.CounterVec   // model, result
	loadSeconds  *prometheus.HistogramVec // model
	unloads      *prometheus.CounterVec   // model
}

// latency are the bounds of histograms of seconds: a text of the smallest tower takes a millisecond, a batch of the largest a minute.
var latency = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

func newMetrics(s *Server) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vitago_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vitago_" + name, Help: help, Buckets: bounds}, labels)
	}
	gauge := func(name, help string, f func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vitago_" + name, Help: help}, f)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("http_requests_total", "Requests by route, method and status; 499 are those that nobody waited for.", "route", "method", "status"),
		seconds:  histogram("http_request_seconds", "Time of requests, from their header to the end of the answer.", latency, "route"),
		errors:   counter("errors_total", "Requests that ended with an error, by its word; invalid_image are pictures that cannot be decoded.", "error"),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "vitago_panics_total", Help: "Panics of handlers."}),
		reloads:  prometheus.NewCounter(prometheus.CounterOpts{Name: "vitago_reloads_total", Help: "Configurations that came into force after the first."}),

		batchItems:   histogram("batch_items", "Pictures or texts that went through a tower together.", prometheus.ExponentialBuckets(1, 2, 8), "model"),
		batchSeconds: histogram("batch_seconds", "Time of a batch in a tower.", latency, "model"),
		waited:       histogram("batch_wait_seconds", "How long the oldest item of a batch has waited for it.", latency, "model"),
		loads:        counter("model_loads_total", "Models that were loaded, and those that could not be.", "model", "result"),
		loadSeconds:  histogram("model_load_seconds", "Time to load a model.", latency, "model"),
		unloads:      counter("model_unloads_total", "Models that were let go.", "model"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "vitago_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version(), "go": runtime.Version(), "arch": runtime.GOARCH}})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.errors, m.panics, m.reloads, m.batchItems, m.batchSeconds, m.waited, m.loads, m.loadSeconds, m.unloads,
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		gauge("http_in_flight", "Requests that are not answered yet.", func() float64 { return float64(s.inFlight.Load()) }),
		gauge("ready", "1 if requests are taken.", func() float64 {
			if s.Ready() != nil {
				return 0
			}
			return 1
		}),
		gauge("queue_requests", "Requests that have a place in the queue.", func() float64 { return float64(s.engine.Stats().Requests) }),
		gauge("queue_bytes", "Bytes of their bodies.", func() float64 { return float64(s.engine.Stats().Bytes) }),
		gauge("queue_items", "Pictures and texts that wait or are computed.", func() float64 { return float64(s.engine.Stats().Items) }),
		gauge("queue_items_limit", "Pictures and texts that may.", func() float64 {
			return float64(cmp.Or(s.force.Load().config.Engine.QueueItems, engine.DefaultQueueItems))
		}),
		gauge("models_loaded", "Models that are in memory.", func() float64 { return float64(s.engine.Stats().Loaded) }),
		gauge("weights_bytes", "Bytes of the weights in memory, as an estimate.", func() float64 { return float64(s.engine.Stats().LoadedBytes) }),
	)
	return m
}

// version is that of the module in this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == "github.com/vitago/vitago" {
			return m.Version
		}
	}
	return ""
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// methods are those that get a label of their own: clients may send any word.
var methods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

func (m *metrics) request(route, method string, status int, word string, took time.Duration) {
	if route == "" {
		route = "none"
	}
	if !methods[method] {
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	if word != "" {
		m.errors.WithLabelValues(word).Inc()
	}
}

// hooks returns those of the engine, which tell the metrics and call others as well.
func (s *Server) hooks(also engine.Hooks) engine.Hooks {
	m := s.metrics
	return engine.Hooks{
		Batch: func(model string, items int, waited, took time.Duration) {
			m.batchItems.WithLabelValues(model).Observe(float64(items))
			m.waited.WithLabelValues(model).Observe(waited.Seconds())
			m.batchSeconds.WithLabelValues(model).Observe(took.Seconds())
			if also.Batch != nil {
				also.Batch(model, items, waited, took)
			}
		},
		Load: func(model string, took time.Duration, err error) {
			result := "ok"
			if err != nil {
				result = "error"
			}
			m.loads.WithLabelValues(model, result).Inc()
			m.loadSeconds.WithLabelValues(model).Observe(took.Seconds())
			if also.Load != nil {
				also.Load(model, took, err)
			}
		},
		Panic: func(v any, stack []byte) {
			s.panicked("engine", v, stack)
			if also.Panic != nil {
				also.Panic(v, stack)
			}
		},
		Unload: func(model string) {
			m.unloads.WithLabelValues(model).Inc()
			if also.Unload != nil {
				also.Unload(model)
			}
		},
	}
}
