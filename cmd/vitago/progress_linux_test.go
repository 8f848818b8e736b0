package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs f with a pseudo-terminal, and returns what f wrote to it.
func onTerminal(t *testing.T, f func(tty *os.File)) string {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120}); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(&got, master) // ends with EIO when nobody has the other side
	}()
	f(tty)
	tty.Close()
	<-read
	return got.String()
}

// TestProgressOnTerminal: verbs that may take long have a bar on a terminal, which is wiped at the end, and lines elsewhere and where TERM is dumb.
func TestProgressOnTerminal(t *testing.T) {
	before := progressAfter
	defer func() { progressAfter = before }()
	progressAfter = 0
	t.Setenv("TERM", "xterm")
	pictures := colours(t, 4)
	dir := t.TempDir()
	red, bars := filepath.Join(pictures, "red"), 0
	for i, line := range []string{
		"convert builtin:demo OUT/converted",
		"export builtin:demo OUT/exported --to openclip",
		"compare builtin:demo OUT/converted",
		"inspect OUT/converted",
		"encode --model builtin:demo -o OUT/red.npy RED",
		"encode --model builtin:demo --shards -o OUT/dataset RED",
		"verify-shards OUT/dataset",
		"merge -o OUT/merged OUT/dataset",
		"index --index OUT/index --model builtin:demo RED",
		"classify --labels stars,circle -o OUT/labels.csv RED",
		"explain --text stars RED/00.png",
		"finetune --model builtin:demo --data PICTURES --out OUT/tuned --recipe lora --epochs 2 --batch 2 --accumulate 1 --split 0.5",
		"finetune --model builtin:demo --data PICTURES --out OUT/probe --recipe probe --split 0.5",
		"eval --model OUT/probe PICTURES",
		"verify",
	} {
		args := strings.Fields(strings.NewReplacer("PICTURES", pictures, "RED", red, "OUT", dir).Replace(line))
		status := -1
		got := onTerminal(t, func(tty *os.File) { status = run(t.Context(), args, strings.NewReader(""), io.Discard, tty) })
		if status != exitDone || strings.Contains(got, "\x1b") {
			t.Errorf("%d: %s: status %d, %q", i, line, status, got)
		}
		if strings.Contains(strings.ReplaceAll(got, "\r\n", "\n"), "\r") {
			bars++
		}
	}
	if bars < 5 { // some are done before they begin to draw
		t.Errorf("%d verbs have drawn a bar", bars)
	}
	t.Setenv("TERM", "dumb")
	got := onTerminal(t, func(tty *os.File) {
		run(t.Context(), []string{"verify"}, strings.NewReader(""), io.Discard, tty)
	})
	if strings.Contains(strings.ReplaceAll(got, "\r\n", "\n"), "\r") {
		t.Errorf("TERM=dumb: %q", got)
	}
}

// TestBarOnTerminal: a bar is redrawn in its line, with rate and time left.
func TestBarOnTerminal(t *testing.T) {
	t.Setenv("TERM", "xterm")
	got := onTerminal(t, func(tty *os.File) {
		p := startProgress(tty, "encoding", count)
		p.set(10, 40)
		p.show(4 * time.Second)
		p.stop()
	})
	want := "\rencoding  [=======                       ]   25%  10 of 40  2.5/s  13s left"
	if !strings.HasPrefix(got, want+"\r") || !strings.HasSuffix(got, " \r") {
		t.Errorf("got %q, want %q, and spaces over it", got, want)
	}
}

// TestColours: a map has colours on a terminal, and none with NO_COLOR or TERM=dumb.
func TestColours(t *testing.T) {
	picture := filepath.Join(colours(t, 1), "red", "00.png")
	for _, c := range []struct {
		term, none string
		want       bool
	}{{"xterm", "", true}, {"xterm", "1", false}, {"dumb", "", false}} {
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.none)
		got := onTerminal(t, func(tty *os.File) {
			run(t.Context(), []string{"explain", "--text", "stars", picture}, strings.NewReader(""), tty, io.Discard)
		})
		if strings.Contains(got, "\x1b[") != c.want || got == "" {
			t.Errorf("TERM=%s NO_COLOR=%s: %.200q", c.term, c.none, got)
		}
	}
}
