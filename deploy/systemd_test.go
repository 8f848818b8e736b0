package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// systemd takes the units as they are, and has few wishes left for their security.
func TestSystemd(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine")
	}
	dir := t.TempDir()
	var units []string
	for _, name := range []string{"vitago.service", "vitago.socket"} {
		unit, err := os.ReadFile(filepath.Join("systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		// Programs that a unit starts have to be there.
		for _, program := range []string{"/usr/local/bin/vitago", "/bin/kill"} {
			unit = []byte(strings.ReplaceAll(string(unit), "="+program, "="+os.Args[0]))
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, unit, 0o644); err != nil {
			t.Fatal(err)
		}
		units = append(units, file)
	}
	// It warns of words that it does not know, and ends with 0 all the same.
	if out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// Its score goes from 0, safe, to 10; the option wants ten times that. What is left is a root directory, mounts and the clock's device.
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--no-pager", "--threshold=5", units[0]).CombinedOutput()
	if err != nil || !regexp.MustCompile(`Overall exposure level for vitago\.service: 0\.\d`).Match(out) {
		t.Errorf("security: %v\n%s", err, out)
	}
}
