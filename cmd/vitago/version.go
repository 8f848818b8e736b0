package main

import (
	"bytes"
	"cmp"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/cpu"

	"github.com/vitago/vitago/internal/kernel"
)

// version is what there is to know about a build and the machine it runs on.
type version struct {
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"` // of the source
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Kernel   string   `json:"kernel"` // in use
	Kernels  []string `json:"kernels"`
	Int8     string   `json:"int8"`         // the instruction of --precision int8
	Int8Pays bool     `json:"int8_pays"`    // it is faster than float32
	BF16     string   `json:"bf16"`         // the instruction of --precision bf16
	BF16Pays bool     `json:"bf16_pays"`    // it is faster than float32
	CPU      []string `json:"cpu_features"` // those that kernels use or could use
	Threads  int      `json:"threads"`
}

func newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version [--json]",
		Short: "Say what this program is and which kernels it runs",
		Long: `Say what this program is and which kernels it runs: the best for the processor, or the
one that the environment variable ` + kernel.Env + ` names.`,
		Example: `  vitago version
  vitago version --json`,
		Args: wantArgs(0, 0, "none"),
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := readVersion()
		if *asJSON {
			return writeJSON(cmd.OutOrStdout(), v)
		}
		bf16 := v.BF16 + map[bool]string{true: "", false: ", no faster than float32"}[v.BF16Pays]
		if v.BF16 == "generic" {
			bf16 = "none"
		}
		rows := [][2]string{
			{"vitago", v.Version},
			{"revision", v.Revision},
			{"go", v.Go},
			{"platform", v.Platform},
			{"kernel", v.Kernel + " (of " + strings.Join(v.Kernels, ", ") + ")"},
			{"int8", v.Int8 + map[bool]string{true: "", false: ", no faster than float32"}[v.Int8Pays]},
			{"bf16", bf16},
			{"cpu", strings.Join(v.CPU, " ")},
			{"threads", count(int64(v.Threads))},
		}
		if v.Revision == "" {
			rows = append(rows[:1], rows[2:]...)
		}
		var b bytes.Buffer
		table(&b, rows)
		_, err := cmd.OutOrStdout().Write(b.Bytes())
		return err
	}
	return cmd
}

func readVersion() version {
	v := version{
		Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Kernel: kernel.Name(), Kernels: kernel.Available(), Int8: kernel.Int8Name(), Int8Pays: kernel.Int8Pays(), BF16: kernel.BF16Name(), BF16Pays: kernel.BF16Pays(), CPU: []string{}, Threads: runtime.GOMAXPROCS(0),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version, v.Revision = sourceOf(info)
	}
	for _, f := range []struct {
		name string
		has  bool
	}{ // on other processors all are false
		{"avx", cpu.X86.HasAVX},
		{"avx2", cpu.X86.HasAVX2},
		{"fma", cpu.X86.HasFMA},
		{"f16c", cpu.X86.HasF16C},
		{"avxvnni", cpu.X86.HasAVXVNNI},
		{"avx512f", cpu.X86.HasAVX512F},
		{"avx512vnni", cpu.X86.HasAVX512VNNI},
		{"avx512bf16", cpu.X86.HasAVX512BF16},
		{"amx-tile", cpu.X86.HasAMXTile},
		{"amx-int8", cpu.X86.HasAMXInt8},
		{"amx-bf16", cpu.X86.HasAMXBF16},
		{"asimd", cpu.ARM64.HasASIMD},
		{"asimdhp", cpu.ARM64.HasASIMDHP},
		{"asimddp", cpu.ARM64.HasASIMDDP},
		{"sve", cpu.ARM64.HasSVE},
	} {
		if f.has {
			v.CPU = append(v.CPU, f.name)
		}
	}
	return v
}

// sourceOf says which version and revision of the source a program was built from. Of a module by a proxy no revision is known.
func sourceOf(info *debug.BuildInfo) (version, revision string) {
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value + revision
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += " (modified)"
		}
	}
	return cmp.Or(info.Main.Version, "(devel)"), revision // without one it is a test
}
