package report

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitago/vitago/finetune/history"
)

var _ history.Sink = &TensorBoard{}

// TensorBoard is a [history.Sink] that writes event files, which TensorBoard shows. The libraries that there are for
// it have been left by their authors, or need TensorFlow itself.
type TensorBoard struct {
	f       *os.File
	measure string
	now     time.Time // of the event
}

// NewTensorBoard makes an event file in the directory dir, in the place of all that are there. It begins with
// what has happened so far, see [finetune.Trainer.History]: a run that was resumed shows every step once.
//
// Source: tensorflow/tensorboard, compat/proto/event.proto and summary.proto; for the file
// tensorflow/tensorflow, core/lib/io/record_writer.h.
func NewTensorBoard(dir, measure string, events []history.Event) (_ *TensorBoard, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(globbed(dir), eventFile+"*"))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	f, err := os.CreateTemp(dir, fmt.Sprintf(eventFile+"%010d.*", time.Now().Unix()))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	b := &TensorBoard{f, measure, time.Now()}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	for _, e := range events { // when it was is not in them, but how long it took
		b.now = b.now.Add(-duration(e))
	}
	const fileVersion, sessionLog, status, started = 3, 7, 1, 1 // fields, and SessionLog.START
	version := protowire.AppendString(protowire.AppendTag(nil, fileVersion, protowire.BytesType), "brain.Event:2")
	session := protowire.AppendVarint(protowire.AppendTag(nil, status, protowire.VarintType), started)
	session = protowire.AppendBytes(protowire.AppendTag(nil, sessionLog, protowire.BytesType), session)
	// A TensorBoard that watches the directory forgets what it has shown.
	if err := errors.Join(b.record(0, version), b.record(0, session)); err != nil {
		return nil, err
	}
	for _, e := range events {
		if err := b.Write(e); err != nil {
			return nil, err
		}
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	return b, os.Chmod(f.Name(), 0o644) // TensorBoard may run as somebody else
}

// eventFile is what the names of event files begin with.
const eventFile = "events.out.tfevents."

// globbed returns a pattern that matches a path and nothing else.
func globbed(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

func duration(e history.Event) time.Duration { return time.Duration(e.Seconds * float64(time.Second)) }

// Write implements [history.Sink].
func (b *TensorBoard) Write(e history.Event) error {
	b.now = b.now.Add(duration(e))
	values := []struct {
		tag string
		v   float64
	}{{"loss/" + e.Kind, e.Loss}, {b.measure + "/" + e.Kind, e.Score}}
	if e.Kind == history.TrainEvent {
		values = append(values, []struct {
			tag string
			v   float64
		}{{"norm", e.Norm}, {"rate", e.Factor}}...)
	}
	const summary, value, tag, simpleValue = 5, 1, 1, 2 // fields of Event, Summary and Summary.Value
	var all []byte
	for _, v := range values {
		one := protowire.AppendString(protowire.AppendTag(nil, tag, protowire.BytesType), v.tag)
		one = protowire.AppendFixed32(protowire.AppendTag(one, simpleValue, protowire.Fixed32Type), math.Float32bits(float32(v.v)))
		all = protowire.AppendBytes(protowire.AppendTag(all, value, protowire.BytesType), one)
	}
	return b.record(e.Step, protowire.AppendBytes(protowire.AppendTag(nil, summary, protowire.BytesType), all))
}

// record writes an event of which some fields are given.
func (b *TensorBoard) record(step int, fields []byte) error {
	const wallTime, stepField = 1, 2
	now := float64(b.now.UnixNano()) / 1e9 // seconds
	data := protowire.AppendFixed64(protowire.AppendTag(nil, wallTime, protowire.Fixed64Type), math.Float64bits(now))
	data = protowire.AppendVarint(protowire.AppendTag(data, stepField, protowire.VarintType), uint64(step))
	data = append(data, fields...)

	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, maskedCRC(out))
	out = append(out, data...)
	out = binary.LittleEndian.AppendUint32(out, maskedCRC(data))
	if _, err := b.f.Write(out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Close closes the file.
func (b *TensorBoard) Close() error { return b.f.Close() }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is a checksum that does not look like one. Source: tensorflow/tensorflow, core/lib/hash/crc32c.h, Mask.
func maskedCRC(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
