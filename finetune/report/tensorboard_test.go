package report

import (
	"encoding/binary"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/vitago/vitago/finetune/history"
)

// fields returns the fields of a message, by number, in order.
func fields(t *testing.T, b []byte) map[protowire.Number][][]byte {
	t.Helper()
	all := map[protowire.Number][][]byte{}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(num, typ, b[max(n, 0):])
		if n < 0 || size < 0 {
			t.Fatalf("no message: % x", b)
		}
		v := b[n : n+size]
		if typ == protowire.BytesType {
			v, _ = protowire.ConsumeBytes(v)
		}
		all[num] = append(all[num], v)
		b = b[n+size:]
	}
	return all
}

// TestTensorBoard reads what was written, record by record. TensorBoard's own reader accepts the same.
func TestTensorBoard(t *testing.T) {
	// Source: the CRC-32C of "123456789" that every description gives is e3069283.
	const crc = uint32(0xe3069283)
	if got, want := maskedCRC([]byte("123456789")), bits.RotateLeft32(crc, 17)+0xa282ead8; got != want {
		t.Errorf("checksum %08x, want %08x", got, want)
	}
	dir := filepath.Join(t.TempDir(), "[1]") // which is no pattern
	events := []history.Event{{Kind: history.TrainEvent, Step: 8, Loss: 0.5, Score: 0.25, Norm: 2, Factor: 0.75}}
	for range 2 { // the run is resumed, and what was written of later steps is gone
		b, err := NewTensorBoard(dir, "accuracy", events)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Write(history.Event{Kind: history.ValidationEvent, Step: 300, Loss: 1.5, Score: 1}); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, _ := filepath.Glob(filepath.Join(globbed(dir), "events.out.tfevents.*"))
	if len(names) != 1 {
		t.Fatalf("files %v", names)
	}
	file, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	type scalar struct {
		step  uint64
		tag   string
		value float32
	}
	var got []scalar
	records := 0
	for ; len(file) > 0; records++ {
		n := binary.LittleEndian.Uint64(file)
		data := file[12 : 12+n]
		if binary.LittleEndian.Uint32(file[8:]) != maskedCRC(file[:8]) || binary.LittleEndian.Uint32(file[12+n:]) != maskedCRC(data) {
			t.Fatalf("record %d: checksum", records)
		}
		file = file[16+n:]
		f := fields(t, data)
		step, _ := protowire.ConsumeVarint(f[2][0])
		if records == 0 && string(f[3][0]) != "brain.Event:2" {
			t.Errorf("version %q", f[3])
		}
		if records == 1 && (step != 0 || len(f[7]) != 1) {
			t.Errorf("session begins with step %d", step)
		}
		for _, s := range f[5] {
			for _, v := range fields(t, s)[1] {
				x := fields(t, v)
				got = append(got, scalar{step, string(x[1][0]), math.Float32frombits(binary.LittleEndian.Uint32(x[2][0]))})
			}
		}
	}
	want := []scalar{
		{8, "loss/train", 0.5}, {8, "accuracy/train", 0.25}, {8, "norm", 2}, {8, "rate", 0.75}, {300, "loss/validation", 1.5}, {300, "accuracy/validation", 1},
	}
	if records != 4 || !slices.Equal(got, want) {
		t.Errorf("%d records, %v", records, got)
	}
}
