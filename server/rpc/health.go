package rpc

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	grpcstatus "google.golang.org/grpc/status"
)

// health answers for all services alike: they have one engine.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	ready    func() error
	names    []string
	draining <-chan struct{}
}

// watchEvery is how often health is looked at for those who watch it.
const watchEvery = time.Second

// status returns that of a service, "" being all.
func (h *health) status(service string) grpc_health_v1.HealthCheckResponse_ServingStatus {
	switch {
	case service != "" && !slices.Contains(h.names, service):
		return grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
	case isClosed(h.draining), h.ready() != nil:
		return grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return grpc_health_v1.HealthCheckResponse_SERVING
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Check implements health's protocol.
func (h *health) Check(_ context.Context, r *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	s := h.status(r.Service)
	if s == grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, grpcstatus.Errorf(codes.NotFound, "no service is called %.80q", r.Service)
	}
	return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
}

// List implements health's protocol.
func (h *health) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	all := map[string]*grpc_health_v1.HealthCheckResponse{"": {Status: h.status("")}}
	for _, name := range h.names {
		all[name] = &grpc_health_v1.HealthCheckResponse{Status: h.status(name)}
	}
	return &grpc_health_v1.HealthListResponse{Statuses: all}, nil
}

// Watch implements health's protocol. It ends when the server is drained, which would wait for it otherwise.
func (h *health) Watch(r *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		draining := isClosed(h.draining) // before the status, so that nobody is cut off who was told that the server serves
		if s := h.status(r.Service); s != last {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: s}); err != nil {
				return err
			}
			last = s
		}
		if draining {
			return grpcstatus.Error(codes.Unavailable, "shutting down")
		}
		select {
		case <-tick.C:
		case <-h.draining:
		case <-stream.Context().Done():
			return grpcstatus.FromContextError(stream.Context().Err()).Err()
		}
	}
}
