package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	cybertron "github.com/nlpodyssey/cybertron/pkg/client"
	"github.com/rs/zerolog"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/server/client"
)

// Cybertron's client reads texts of cybertron's server, and ours pictures, both over one port.
func TestServe(t *testing.T) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a port that is free
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, demo.Name, address) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	m, err := demo.Open()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile("../../demo/pictures/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	want, err := m.Encode(t.Context(), clip.Bytes("picture", file))
	if err != nil {
		t.Fatal(err)
	}
	wantText, err := m.EncodeText(t.Context(), []string{"a red circle"})
	if err != nil {
		t.Fatal(err)
	}
	limited, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()

	text, err := cybertron.NewClientForTextEncoding(address, cybertron.Options{}).Encode(limited, "a red circle", 0) // waits for the server
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(text.Vector.Data().F32(), wantText[0]) {
		t.Error("the text differs from package clip's")
	}
	c, err := client.New(address, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	image, err := c.ImageEncoding("").EncodeImage(limited, file)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(image.Vector.Data().F32(), want[0]) {
		t.Error("the picture differs from package clip's")
	}

	request, err := json.Marshal(map[string]any{"images": [][]byte{file}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post("http://"+address+"/v1/images:encode", "application/json", bytes.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Vectors []struct{ Values []float32 } }
	if err := json.Unmarshal(body, &got); err != nil || response.StatusCode != http.StatusOK || len(got.Vectors) != 1 || !slices.Equal(got.Vectors[0].Values, want[0]) {
		t.Errorf("as JSON: %d %.200s; %v", response.StatusCode, body, err)
	}
}
