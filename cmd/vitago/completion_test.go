package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"weak"
)

// TestCompletionScripts: each shell's script is made, and each shell that is there reads it.
func TestCompletionScripts(t *testing.T) {
	for shell, want := range map[string]string{"bash": "complete -o default", "zsh": "#compdef vitago", "fish": "complete -c vitago", "powershell": "Register-ArgumentCompleter"} {
		r := vitago("completion", shell)
		r.want(t, exitDone, []string{want}, nil)
		check := map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}}[shell]
		program, err := exec.LookPath(shell)
		if err != nil || check == nil {
			continue
		}
		file := filepath.Join(t.TempDir(), "vitago."+shell)
		if err := os.WriteFile(file, []byte(r.out), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), program, append(check, file)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}

// TestCompletionInBash: bash completes what the program says, by the script; the program is this test.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "vitago.bash")
	if err := os.WriteFile(script, []byte(vitago("completion", "bash").out), 0o666); err != nil {
		t.Fatal(err)
	}
	// Every word after the script is one of the command line; what bash-completion has to take them apart is not everywhere.
	const driver = `vitago() { cat "$0.answer"; }
_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMP_TYPE=9; COLUMNS=200
__start_vitago
printf '%s\n' "${COMPREPLY[@]}"`
	driverFile := filepath.Join(dir, "driver")
	if err := os.WriteFile(driverFile, []byte(driver), 0o666); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{"enco": "encode\n", "encode --model builtin:de": "demo\n", "finetune --recipe xc": "xcomposer\n", "encode --format safe": "safetensors\n"} {
		args := strings.Fields(line)
		if err := os.WriteFile(driverFile+".answer", []byte(vitago(append([]string{"__complete"}, args...)...).out), 0o666); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), bash, append([]string{driverFile, script, "vitago"}, args...)...).CombinedOutput()
		if err != nil || !strings.HasSuffix(strings.TrimSuffix(string(out), "\n")+"\n", want) {
			t.Errorf("%s: %q, %v, want %q", line, out, err, want)
		}
	}
}

// TestCompletionValues: models that are there, choices, files by what takes them, and no files where a number is wanted.
func TestCompletionValues(t *testing.T) {
	t.Setenv(modelsEnv, t.TempDir())
	if err := os.CopyFS(filepath.Join(os.Getenv(modelsEnv), "openai", "clip-vit-base-patch32"), os.DirFS(tinyModel)); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string][]string{
		"encode --model ":           {"builtin:demo\n", "openai/clip-vit-base-patch32\n", ":0\n"},
		"finetune --teacher open":   {"openai/clip-vit-base-patch32\n"},
		"serve --model a=":          {"a=builtin:demo\n"},
		"inspect built":             {"builtin:demo\n"},
		"download openai/clip-vit-": {"openai/clip-vit-large-patch14-336\n", ":4\n"},
		"finetune recipes ":         {"lora\n", "probe\n"},
		"finetune --recipe l":       {"lora\n", "last-n\n"},
		"encode --precision ":       {"bf16\n", "int8\n"},
		"encode --batch ":           {":4\n"},
		"status --plot ":            {"svg\n", ":8\n"},
		"--config ":                 {"yaml\n", ":8\n"},
		"encode --config ":          {"yaml\n", ":8\n"},
		"search --index ":           {":16\n"},
		"encode --model x ":         {":0\n"}, // any file
		"version ":                  {":4\n"},
	} {
		args := strings.Split(line, " ")
		vitago(append([]string{"__complete"}, args...)...).want(t, exitDone, want, []string{""})
	}
}

// TestRootIsFreed: the commands of one command line do not outlast it, which they would do if their flags had completions.
func TestRootIsFreed(t *testing.T) {
	vitago("version").want(t, exitDone, []string{""}, nil)
	root := weak.Make(newRoot(strings.NewReader(""), io.Discard, io.Discard))
	runtime.GC()
	if root.Value() != nil {
		t.Error("something keeps the commands")
	}
}
