package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"

	vitagov1 "github.com/vitago/vitago/server/api/vitago/v1"
	"github.com/vitago/vitago/server/engine"
)

// forgotten is after how long no timer holds a connection of HTTP/2 that is closed: the deadline to write to a stream that has gone before it
// was set is the longest.
const forgotten = writeTimeout + 5*time.Second

// heap returns the bytes of what is reachable.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// spare is how many bytes more may be reachable in the end than after a tenth of the time: few enough that 20 bytes which each request of
// three minutes leaves are seen.
const spare = 512 << 10

// TestSoak: clients of all kinds, good and bad, for as long as VITAGO_SOAK says, while models and limits are reloaded. All answers are what they
// should be, and in the end goroutines and memory are what they were after a tenth of the time: both are looked at with the same models in
// force and no connection open, when nothing holds a closed one any more.
//
//	VITAGO_SOAK=10m go test -run TestSoak -timeout 30m -v ./server
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("VITAGO_SOAK"))
	if err != nil {
		t.Skip("VITAGO_SOAK is no time")
	}
	small := engine.Config{Models: demoEngine.Models, QueueItems: 64, QueueBytes: 64 << 20, Limits: engine.Limits{Items: 32}}
	s := start(t, Config{MaxBody: 8 << 20, Stall: 200 * time.Millisecond})
	image := "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture(t))
	good := fmt.Sprintf(`{"model":"demo","input":["a red circle",%q,{"image":%[1]q}]}`, image)
	var answered, refused, other atomic.Int64
	clients := make([]*http.Client, 24) // one for each who asks, since the test keeps them
	for i := range clients {
		clients[i] = client(t, 1+i%2, nil)
	}
	more := small
	more.Models = append(small.Models[:1:1], engine.Model{Name: "more", Path: "builtin:demo", Preload: true})
	reload := func(e engine.Config) {
		if err := s.Reload(t.Context(), Config{Engine: e, MaxBody: 8 << 20, Stall: 200 * time.Millisecond}); err != nil {
			t.Error(err)
		}
	}
	reload(small)
	_, want := ask(t, clients[0], "POST", s.url+"/v1/embeddings", strings.NewReader(good))
	work := func(length time.Duration) {
		until := time.Now().Add(length)
		stop := make(chan struct{})
		var all, reloads sync.WaitGroup
		reloads.Go(func() {
			defer reload(small) // what is reachable is that of the same models each time
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Millisecond):
				}
				reload([]engine.Config{more, small}[i%2])
			}
		})
		for i, c := range clients {
			all.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), 1))
				defer c.CloseIdleConnections()
				conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				texts := vitagov1.NewTextEncodingServiceClient(conn)
				for time.Now().Before(until) && !t.Failed() {
					switch n := random.IntN(20); {
					case n < 10:
						switch res, body := ask(t, c, "POST", s.url+"/v1/embeddings", strings.NewReader(good)); {
						case res.StatusCode == http.StatusOK && body == want:
							answered.Add(1)
						case res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") != "":
							refused.Add(1)
						default:
							t.Errorf("%d %.300s", res.StatusCode, body)
						}
					case n < 13:
						_, err := texts.EncodeTexts(t.Context(), &vitagov1.EncodeTextsRequest{Texts: []string{"a red circle"}})
						if code := grpcstatus.Code(err); code == codes.OK {
							answered.Add(1)
						} else if code == codes.ResourceExhausted {
							refused.Add(1)
						} else {
							t.Error(err)
						}
					case n < 15: // goes away in mid-upload, or stands still
						conn, err := net.Dial("tcp", s.addr)
						if err != nil {
							t.Error(err)
							return
						}
						fmt.Fprintf(conn, "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n%s", good[:20])
						if n == 14 {
							_, _ = io.Copy(io.Discard, conn)
						}
						conn.Close()
						other.Add(1)
					case n < 17: // goes away while it is computed
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(3000))*time.Microsecond)
						req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/embeddings", strings.NewReader(good))
						if res, err := c.Do(req); err == nil {
							_, _ = io.Copy(io.Discard, res.Body)
							res.Body.Close()
						}
						cancel()
						other.Add(1)
					case n < 18: // too large
						if res, body := ask(t, c, "POST", s.url+"/v1/embeddings", bytes.NewReader(make([]byte, 9<<20))); res.StatusCode != http.StatusRequestEntityTooLarge {
							t.Errorf("%d %.300s", res.StatusCode, body)
						}
						other.Add(1)
					default: // wrong
						if res, body := ask(t, c, "POST", s.url+"/v1/embeddings", strings.NewReader(good[:random.IntN(len(good))])); res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusUnprocessableEntity && res.StatusCode != http.StatusTooManyRequests {
							t.Errorf("%d %.300s", res.StatusCode, body)
						}
						other.Add(1)
					}
				}
			})
		}
		all.Wait()
		close(stop)
		reloads.Wait()
	}
	work(length / 10)
	s.log.reset()
	time.Sleep(forgotten)
	first, began := goroutines(), heap()
	t.Logf("after a tenth: %d answered, %d told to come again, %d bad; heap %d KiB, %d goroutines", answered.Load(), refused.Load(), other.Load(), began>>10, first)
	work(length * 9 / 10)
	s.log.reset()
	rest(t, first)
	time.Sleep(forgotten)
	ended := heap()
	t.Logf("in the end: %d answered, %d told to come again, %d bad; heap %d KiB, %d goroutines", answered.Load(), refused.Load(), other.Load(), ended>>10, runtime.NumGoroutine())
	if ended > began+spare {
		t.Errorf("the heap has %d bytes, and had %d", ended, began)
	}
	if n := s.engine.Stats(); n.Requests != 0 || n.Bytes != 0 || n.Items != 0 {
		t.Errorf("in the queue there is left %+v", n)
	}
}
