package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/vitago/vitago/clipvit"
	"github.com/vitago/vitago/server"
	"github.com/vitago/vitago/server/engine"
	"github.com/vitago/vitago/server/fetch"
)

// serveConfigEnv names serve's own file, as its --config does.
const serveConfigEnv = "VITAGO_SERVE_CONFIG"

// mebibyte is the unit of flags of bytes.
const mebibyte = 1 << 20

// A serving is what the flags of serve say.
type serving struct {
	flags *pflag.FlagSet

	models, indexes, listen, origins, hosts, fetch, fetchAllow []string
	admin, config, tokens, cert, key, clientCA                 string
	precision, logFormat, logLevel                             *choice
	prepared                                                   func() clipvit.Choice
	runs, data                                                 string
	lazy, insecure, fetchHTTP, cut, check, json, noPage        bool
	maxBody, maxImage, memory, queueBytes                      int64
	maxItems, maxText, maxBatch, queueItems, connections       int
	maxPixels                                                  int64
	maxWait, idle, timeout, stall, grace, drain                time.Duration
	rows                                                       []modelRow // of the file
}

// A modelRow is a model of the configuration's file. What it leaves out is as the flags have it.
type modelRow struct {
	Name       string   `yaml:"name"`
	Aliases    []string `yaml:"aliases,omitempty"`
	Path       string   `yaml:"path"`
	Precision  string   `yaml:"precision,omitempty"`
	Preprocess string   `yaml:"preprocess,omitempty"`
	Fit        string   `yaml:"fit,omitempty"`
	EXIF       *bool    `yaml:"exif,omitempty"`
	Adapters   []string `yaml:"adapters,omitempty"`
	Vocab      string   `yaml:"vocab,omitempty"`
	Index      string   `yaml:"index,omitempty"`
	Preload    *bool    `yaml:"preload,omitempty"`
}

// A serveFile is the file of a configuration: models, and flags by their names.
type serveFile struct {
	Models []modelRow         `yaml:"models,omitempty"`
	Flags  map[string]literal `yaml:",inline"`
}

func newServe() *cobra.Command {
	cmd, _ := serveCommand()
	return cmd
}

// serveCommand returns the verb and what its flags say.
func serveCommand() (*cobra.Command, *serving) {
	cmd := &cobra.Command{
		Use:   "serve --model NAME=DIR [flags]",
		Short: "Answer over HTTP and gRPC",
		Long: `Serve answers over HTTP and gRPC, on one port, what models say of pictures and texts: in the formats of OpenAI's
embeddings and of other services, whose clients need nothing but the address, and in its own.

A flag may stand in the environment, as VITAGO_SERVE_MAX_BODY for --max-body, and in the file that --config names, in YAML or
JSON, by its name; a list there is a flag that is given several times. The command line counts before the environment, and
that before the file. The file for all verbs, of VITAGO_CONFIG, has the same below "serve:". There are models as well, with
what each has by itself:

  models:
    - {name: clip, aliases: [text-embedding-3-small], path: models/vit-b-32, index: photos.index}
    - {name: demo, path: "builtin:demo"}
  tokens: /etc/vitago/tokens

A row has name, aliases, path, precision, preprocess, fit, exif, adapters, vocab, index and preload.

SIGHUP reads all of that again, with tokens, certificates and models; what is wrong is logged, and leaves the old one in force.
--listen, --admin-listen, --connections, --cut-dimensions, --runs, --data, --no-page, --log and --log-level stay as they were. SIGTERM and SIGINT end it:
/readyz says 503, after --grace nobody is let in, and requests in flight have --drain to be answered. A second one ends it
at once. Exit status 0 if all were answered.

It listens on this machine alone unless --listen says another address, which wants TLS, and tokens or certificates of
clients, or --insecure.`,
		Example: `  vitago serve --model demo=builtin:demo
  vitago serve --model clip=ViT-B/32 --index photos.index --listen 127.0.0.1:8080
  vitago serve --config serve.yaml --check
  vitago serve --model clip=ViT-B/32 --listen 0.0.0.0:8443 --tokens tokens \
      --tls-cert cert.pem --tls-key key.pem`,
		Args: wantArgs(0, 0, "none: --model names models"),
	}
	s := &serving{}
	f := cmd.Flags()
	s.flags = f
	f.StringArrayVar(&s.models, "model", nil, "`NAME=DIR`: a model and how clients name it, the first where they name none; NAME,NAME=DIR for several names; repeatable")
	f.StringArrayVar(&s.indexes, "index", nil, "`NAME=INDEX` of a model, which is searched; without NAME that of the first; repeatable")
	f.StringArrayVar(&s.listen, "listen", []string{"127.0.0.1:8080"}, "`ADDRESS`: HOST:PORT, unix:PATH, or systemd for the sockets that it has opened; repeatable")
	f.StringVar(&s.admin, "admin-listen", "", "`ADDRESS` of /healthz, /readyz and /metrics alone, without tokens and TLS")
	f.StringVar(&s.config, "config", "", "`FILE` of flags and models, in YAML or JSON")
	f.BoolVar(&s.check, "check", false, "say what is wrong with the configuration, models and indexes, or write it as it would be in force to standard output, and end")
	f.BoolVar(&s.json, "json", false, "with --check: write it in JSON, and not in YAML; both are files for --config")
	f.StringVar(&s.tokens, "tokens", "", "`FILE` of tokens that let clients in, one a line: TOKEN, NAME TOKEN or NAME sha256:HEX")
	f.StringVar(&s.cert, "tls-cert", "", "`FILE`.pem of the certificate, read again when it changes")
	f.StringVar(&s.key, "tls-key", "", "`FILE`.pem of its key")
	f.StringVar(&s.clientCA, "client-ca", "", "`FILE`.pem of authorities, by one of which clients have to have a certificate")
	f.BoolVar(&s.insecure, "insecure", false, "permit other machines without TLS or tokens, and any name in Host")
	f.StringArrayVar(&s.origins, "origin", nil, "`ORIGIN` whose pages may ask, as https://example.org; * is any; repeatable")
	f.StringArrayVar(&s.hosts, "host", nil, "`NAME` that clients may ask for on this machine without tokens, beside localhost and addresses; repeatable")
	f.StringArrayVar(&s.fetch, "fetch", nil, "`HOST` from which pictures by URL are fetched; .example.org is all below it, * any; repeatable (default: none)")
	f.BoolVar(&s.fetchHTTP, "fetch-http", false, "fetch by http, too, and not by https alone")
	f.StringArrayVar(&s.fetchAllow, "fetch-allow", nil, "`PREFIX` of private addresses that may be fetched from, as 10.1.0.0/16; repeatable")
	s.precision = precisionFlag(cmd, "of the products' weights and operands")
	s.prepared = preprocessFlags(cmd, true)
	f.BoolVar(&s.lazy, "lazy", false, "load models when they are first asked for, and not before")
	f.Int64Var(&s.memory, "memory", 0, "`MiB` of weights at a time: models are loaded when they are asked for, and those that were not longest make room (default: any)")
	f.DurationVar(&s.idle, "idle", 0, "let a model go that nobody asked for this `TIME` (default: never)")
	f.IntVar(&s.maxBatch, "max-batch", 0, "`N` pictures or texts that go through a tower together (default: as its size is)")
	f.DurationVar(&s.maxWait, "max-wait", engine.DefaultMaxWait, "longest `TIME` that a batch waits for pictures that are being decoded; -1ms is not at all")
	f.IntVar(&s.queueItems, "queue-items", engine.DefaultQueueItems, "`N` pictures and texts that wait or are computed; more are told to come again")
	f.Int64Var(&s.queueBytes, "queue-bytes", engine.DefaultQueueBytes/mebibyte, "`MiB` of their bodies")
	f.Int64Var(&s.maxBody, "max-body", server.DefaultMaxBody/mebibyte, "`MiB` of a body")
	f.Int64Var(&s.maxImage, "max-image", engine.DefaultImageBytes/mebibyte, "`MiB` of a picture's file")
	f.Int64Var(&s.maxPixels, "max-pixels", engine.DefaultPixels, "`N` pixels of a picture")
	f.IntVar(&s.maxItems, "max-items", engine.DefaultItems, "`N` pictures and texts of a request")
	f.IntVar(&s.maxText, "max-text", engine.DefaultTextBytes, "`N` bytes of a text")
	f.BoolVar(&s.cut, "cut-dimensions", false, "permit dimensions in the formats of other services, for less of a vector: its first values, of length 1 again; /v1/texts:encode and gRPC always do")
	f.StringVar(&s.runs, "runs", "", "`DIR` of runs of finetuning, which clients begin, watch, stop and resume; made if it is not there (default: refused)")
	f.StringVar(&s.data, "data", "", "`DIR` that they learn from: what clients name lies below it")
	f.BoolVar(&s.noPage, "no-page", false, "leave out the page at /")
	f.IntVar(&s.connections, "connections", server.DefaultMaxConnections, "`N` connections at a time of an address")
	f.DurationVar(&s.timeout, "timeout", server.DefaultTimeout, "longest `TIME` of a request")
	f.DurationVar(&s.stall, "stall", server.DefaultStall, "`TIME` that a body may stand still")
	f.DurationVar(&s.grace, "grace", 0, "`TIME` from the signal until nobody is let in any more")
	f.DurationVar(&s.drain, "drain", server.DefaultDrain, "`TIME` that requests in flight have after that")
	s.logFormat = choiceFlag(cmd, "log", "text", "form of the log on standard error", "text", "json")
	s.logLevel = choiceFlag(cmd, "log-level", "info", "least weight of what is logged; info has a line for each request", "debug", "info", "warn", "error")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return serve(cmd) }
	return cmd, s
}

// flagValues returns what the values of a flag are, in their order.
func flagValues(f *pflag.Flag) []string {
	if all, ok := f.Value.(pflag.SliceValue); ok {
		return all.GetSlice()
	}
	return []string{f.Value.String()}
}

// loadServing returns what the flags of a command line, the environment and the file say together.
func loadServing(given *pflag.FlagSet) (*serving, error) {
	cmd, s := serveCommand()
	file, path, err := serveFileOf(given.Lookup("config").Value.String())
	if err != nil {
		return nil, err
	}
	s.rows = file.Models
	s.flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Name == "help" {
			return
		}
		if g := given.Lookup(f.Name); g != nil && g.Changed {
			err = setFlag(s.flags, f, "command line", flagValues(g))
			return
		}
		if !isSettable(f) {
			return
		}
		env := envName(cmd.Name(), f.Name)
		if values, ok := envValues(env, f, true); ok {
			err = setFlag(s.flags, f, env, values)
			return
		}
		if v, ok := file.Flags[f.Name]; ok {
			var values []string
			if values, err = fileValues(f, v.value); err != nil {
				err = usagef("%s: %s %w", path, f.Name, err)
				return
			}
			err = setFlag(s.flags, f, path, values)
		}
	})
	return s, err
}

// serveFileOf returns what a file says of serve: that of --config or the environment, which has it at its top or in a section, or the section of the
// file for all verbs.
func serveFileOf(config string) (file serveFile, path string, err error) {
	own := cmp.Or(config, os.Getenv(serveConfigEnv))
	path = cmp.Or(own, os.Getenv(configEnv))
	if path == "" {
		return file, path, nil
	}
	b, err := readSettings(path)
	if err != nil {
		return file, path, err
	}
	var top map[string]any
	if own == "" || parseYAML(b, &top) == nil && isAllVerbs(top) {
		all, err := parseConfig(b)
		if err != nil {
			return file, path, usagef("%s: %w", path, err)
		}
		if err = all.check(path, newRoot(nil, nil, nil)); err != nil || all.Serve == nil {
			return file, path, err
		}
		return *all.Serve, path, nil
	}
	if file, err = parseServeFile(b); err != nil {
		return file, path, usagef("%s: %w", path, err)
	}
	return file, path, file.check(path, "")
}

// isAllVerbs says whether a file is for all verbs: it has a section of serve.
func isAllVerbs(top map[string]any) bool {
	_, ok := top["serve"].(map[string]any)
	return ok
}

// check returns the error about a name that is no flag; where says in what it stands.
func (file serveFile) check(path, where string) error {
	_, s := serveCommand()
	for _, name := range slices.Sorted(maps.Keys(file.Flags)) {
		if f := s.flags.Lookup(name); f == nil || !isSettable(f) {
			return usagef("%s: %sunknown key %q, want models, or a flag of serve that may stand in a file%s", path, where, name, didYouMean(nearest(name, settableNames(s.flags))))
		}
	}
	return nil
}

func parseServeFile(b []byte) (file serveFile, err error) { return file, parseYAML(b, &file) }

// fileValues returns the values of a flag that a file has.
func fileValues(f *pflag.Flag, v any) ([]string, error) {
	_, several := f.Value.(pflag.SliceValue)
	_, labels := f.Value.(*labelList)
	all, isList := v.([]any)
	several = several || labels
	if !isList {
		all = []any{v}
	} else if !several {
		return nil, errors.New("is a list, want one value")
	}
	var values []string
	for _, v := range all {
		switch v := v.(type) {
		case string:
			text := v
			if labels && isList && strings.ContainsAny(text, ",\"") { // one label, as a field of CSV
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			values = append(values, text)
		default:
			return nil, errors.New("is neither a text, a number nor true or false")
		}
	}
	if slices.Contains(values, "") {
		return nil, errors.New("is empty")
	}
	return values, nil
}

// modelsOf returns the models of the flags and the file.
func (s *serving) modelsOf(log io.Writer) ([]engine.Model, error) {
	preload := !s.lazy && s.memory == 0
	rows := slices.Clone(s.rows)
	var given []modelRow
	for _, m := range s.models {
		names, path, ok := strings.Cut(m, "=")
		if _, err := os.Stat(m); err == nil || !ok {
			path = m
			names = strings.TrimPrefix(filepath.Base(filepath.Clean(m)), "builtin:")
		}
		all := strings.Split(names, ",")
		if slices.Contains(all, "") || path == "" {
			return nil, usagef("--model is %s, want NAME=DIR", m)
		}
		given = append(given, modelRow{Name: all[0], Aliases: all[1:], Path: path})
	}
	rows = append(given, rows...)
	if len(rows) == 0 {
		return nil, usagef("no model: give --model NAME=DIR, or models in --config FILE; --model demo=builtin:demo is the small model in this program")
	}
	seen := map[string]bool{}
	for _, row := range rows {
		for _, name := range append([]string{row.Name}, row.Aliases...) {
			if seen[name] {
				return nil, usagef("two models have the name %q", name)
			}
			seen[name] = true
		}
	}
	precision, err := choosePrecision(log, s.precision.value)
	if err != nil {
		return nil, err
	}
	all := s.prepared()
	var models []engine.Model
	for _, row := range rows {
		path, found := findModel(row.Path)
		if found {
			fmt.Fprintf(log, "%s: taking %s\n", oneLine(row.Path), path)
		}
		if _, err := os.Stat(path); err != nil && !isBuiltin(path) {
			return nil, fmt.Errorf("model %s: %w", row.Name, err)
		}
		m := engine.Model{Name: row.Name, Aliases: row.Aliases, Path: path, Precision: cmp.Or(row.Precision, precision), Prepare: all, Adapters: row.Adapters, Vocab: row.Vocab, Index: row.Index, Preload: preload}
		if row.Precision == "auto" {
			if m.Precision, err = choosePrecision(log, row.Precision); err != nil {
				return nil, err
			}
		}
		m.Prepare.Preset, m.Prepare.Fit = cmp.Or(row.Preprocess, m.Prepare.Preset), cmp.Or(clipvit.Fit(row.Fit), m.Prepare.Fit)
		if row.EXIF != nil {
			m.Prepare.EXIF = *row.EXIF
		}
		if row.Preload != nil {
			m.Preload = *row.Preload
		}
		for _, x := range s.indexes {
			name, folder, ok := strings.Cut(x, "=")
			if _, err := os.Stat(x); err == nil || !ok {
				name, folder = rows[0].Name, x
			}
			if !slices.ContainsFunc(rows, func(r modelRow) bool { return r.Name == name }) {
				return nil, usagef("--index %s: no model has the name %q", x, name)
			}
			if name == row.Name {
				if m.Index != "" {
					return nil, usagef("--index %s: the model %s has the index %s already", x, name, m.Index)
				}
				m.Index = folder
			}
		}
		models = append(models, m)
	}
	return models, nil
}

// configOf returns the configuration of the server.
func (s *serving) configOf(log io.Writer, logger *slog.Logger) (server.Config, error) {
	models, err := s.modelsOf(log)
	if err != nil {
		return server.Config{}, err
	}
	for _, n := range []struct {
		flag  string
		value int64
	}{
		{"memory", s.memory}, {"max-batch", int64(s.maxBatch)}, {"idle", int64(s.idle)}, {"grace", int64(s.grace)},
	} {
		if n.value < 0 {
			return server.Config{}, usagef("--%s is %v, want 0 or more", n.flag, s.flags.Lookup(n.flag).Value)
		}
	}
	const most = 1 << 40 // so that bytes of it fit a number
	for _, n := range []struct {
		flag  string
		value int64
	}{
		{"queue-items", int64(s.queueItems)}, {"queue-bytes", s.queueBytes}, {"max-body", s.maxBody}, {"max-image", s.maxImage}, {"max-pixels", s.maxPixels}, {"max-items", int64(s.maxItems)},
		{"max-text", int64(s.maxText)}, {"connections", int64(s.connections)}, {"timeout", int64(s.timeout)}, {"stall", int64(s.stall)}, {"drain", int64(s.drain)},
	} {
		if n.value < 1 {
			return server.Config{}, usagef("--%s is %v, want more than 0", n.flag, s.flags.Lookup(n.flag).Value)
		}
	}
	for _, n := range []int64{s.memory, s.queueBytes, s.maxBody, s.maxImage} {
		if n > most {
			return server.Config{}, usagef("%d MiB are more than any machine has", n)
		}
	}
	c := server.Config{
		Engine: engine.Config{
			Models: models, Memory: s.memory * mebibyte, Idle: s.idle, MaxBatch: s.maxBatch, MaxWait: s.maxWait, QueueItems: s.queueItems, QueueBytes: s.queueBytes * mebibyte,
			Limits: engine.Limits{ImageBytes: s.maxImage * mebibyte, Pixels: s.maxPixels, Items: s.maxItems, TextBytes: s.maxText},
		},
		Tokens: s.tokens, Origins: s.origins, Hosts: s.hosts, Certificate: s.cert, Key: s.key, ClientCA: s.clientCA, Insecure: s.insecure,
		MaxBody: s.maxBody * mebibyte, MaxConnections: s.connections, Timeout: s.timeout, Stall: s.stall, Grace: s.grace, Drain: s.drain,
		CutDimensions: s.cut, Runs: s.runs, Data: s.data, NoPage: s.noPage, Log: logger,
	}
	if s.maxBatch == 1 && !s.flags.Changed("max-wait") {
		c.Engine.MaxWait = 0
	}
	if (s.runs == "") != (s.data == "") {
		return server.Config{}, usagef("--runs and --data go together: a run has a folder that it is kept in, and one that it learns from")
	}
	if len(s.fetch) == 0 && (s.fetchHTTP || len(s.fetchAllow) > 0) {
		return server.Config{}, usagef("--fetch-http and --fetch-allow go with --fetch HOST: otherwise nothing is fetched")
	}
	if len(s.fetch) > 0 {
		fc := fetch.Config{Hosts: s.fetch, HTTP: s.fetchHTTP, Bytes: s.maxImage * mebibyte}
		for _, p := range s.fetchAllow {
			prefix, err := netip.ParsePrefix(p)
			if err != nil {
				return server.Config{}, usagef("--fetch-allow is %s, want addresses as 10.1.0.0/16", p)
			}
			fc.Allow = append(fc.Allow, prefix)
		}
		f, err := fetch.New(fc)
		if err != nil {
			return server.Config{}, usagef("--fetch: %w", err)
		}
		c.Fetch = f.Fetch
	}
	if err := server.Check(c); err != nil {
		return server.Config{}, usageError{err}
	}
	return c, nil
}

// print writes the configuration as a file of it would have it.
func (s *serving) print(w io.Writer, models []engine.Model) error {
	file := serveFile{Flags: map[string]literal{}}
	for _, m := range models {
		file.Models = append(file.Models, modelRow{
			Name: m.Name, Aliases: m.Aliases, Path: m.Path, Precision: m.Precision, Preprocess: m.Prepare.Preset, Fit: string(m.Prepare.Fit), EXIF: &m.Prepare.EXIF, Adapters: m.Adapters, Vocab: m.Vocab, Index: m.Index, Preload: &m.Preload,
		})
	}
	s.flags.VisitAll(func(f *pflag.Flag) {
		if !isSettable(f) || slices.Contains([]string{"json", "model", "index", "lazy", "precision", "preprocess", "fit", "exif"}, f.Name) { // which models have
			return
		}
		all, several := f.Value.(pflag.SliceValue)
		switch {
		case several && len(all.GetSlice()) > 0:
			file.Flags[f.Name] = literal{all.GetSlice()}
		case !several && slices.Contains([]string{"bool", "int", "int64"}, f.Value.Type()): // without quotation marks
			file.Flags[f.Name] = literal{&yaml.Node{Kind: yaml.ScalarNode, Value: f.Value.String()}}
		case !several && f.Value.String() != "":
			file.Flags[f.Name] = literal{f.Value.String()}
		}
	})
	var text bytes.Buffer
	d := yaml.NewEncoder(&text)
	d.SetIndent(2)
	if err := errors.Join(d.Encode(file), d.Close()); err != nil {
		return err
	}
	if s.json {
		var all map[string]any
		if err := yaml.Unmarshal(text.Bytes(), &all); err != nil {
			return err
		}
		return writeJSON(w, all)
	}
	_, err := w.Write(text.Bytes())
	return err
}

// logger returns the log that the flags ask for, on w.
func (s *serving) logger(w io.Writer, quiet bool) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.logLevel.value)) // one of the choices
	if quiet {
		level = slog.LevelError
	}
	o := &slog.HandlerOptions{Level: level}
	if s.logFormat.value == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// exposed says of an address that others reach which flags would permit it.
func exposed(err error) error {
	if errors.Is(err, server.ErrExposed) {
		return usagef("--listen %w: give --tls-cert and --tls-key, and --tokens or --client-ca, or --insecure", err)
	}
	return err
}

// dryRun returns the error with which the server would not start, as far as it can be known without loading a model or opening a port.
func (s *serving) dryRun(c server.Config) error {
	if err := engine.Check(c.Engine); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, address := range s.listen {
		if seen[address] && !strings.HasSuffix(address, ":0") {
			return usagef("--listen %s stands twice", address)
		}
		seen[address] = true
		if err := server.CheckAddress(c, address); err != nil {
			return exposed(err)
		}
	}
	return nil
}

// serve is the verb.
func serve(cmd *cobra.Command) error {
	ctx, given := cmd.Context(), cmd.Flags()
	s, err := loadServing(given)
	if err != nil {
		return err
	}
	if s.json && !s.check {
		return usagef("--json goes with --check")
	}
	logger := s.logger(failures(ctx, cmd.ErrOrStderr()), cmd.Flag("quiet").Value.String() == "true")
	c, err := s.configOf(cmd.ErrOrStderr(), logger)
	if err != nil {
		return err
	}
	if s.check {
		if err := s.dryRun(c); err != nil {
			return err
		}
		return s.print(cmd.OutOrStdout(), c.Engine.Models)
	}
	frugal()
	hangups, noHangups := hangups() // before anything is open, so that none ends the process
	defer noHangups()
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			l.Close()
		}
	}
	for _, address := range s.listen {
		l, err := server.Listen(c, address)
		if err != nil {
			closeAll()
			return exposed(err)
		}
		listeners = append(listeners, l...)
	}
	var admin net.Listener
	if s.admin != "" {
		if admin, err = net.Listen("tcp", s.admin); err != nil {
			closeAll()
			return fmt.Errorf("--admin-listen: %w", err)
		}
	}
	srv, err := server.New(ctx, c)
	if err != nil {
		closeAll()
		if admin != nil {
			admin.Close()
		}
		return err
	}
	if admin != nil {
		defer srv.ServeAdmin(admin)()
		fmt.Fprintf(cmd.ErrOrStderr(), "probes and metrics: http://%s\n", admin.Addr())
	}
	s.announce(cmd.ErrOrStderr(), c, listeners)
	reloads := make(chan struct{})
	serving, stop := context.WithCancel(ctx)
	go func() {
		defer close(reloads)
		for {
			select {
			case <-hangups:
				reload(serving, srv, given, logger)
			case <-serving.Done():
				return
			}
		}
	}()
	err = srv.Serve(ctx, listeners...)
	stop()
	<-reloads
	return err
}

// reload brings a configuration into force that has changed, or logs why not.
func reload(ctx context.Context, srv *server.Server, given *pflag.FlagSet, logger *slog.Logger) {
	s, err := loadServing(given)
	if err == nil {
		var c server.Config
		if c, err = s.configOf(io.Discard, logger); err == nil {
			err = srv.Reload(ctx, c)
		}
	}
	if err != nil {
		logger.Error("the configuration stays as it was", "error", plain(err))
		return
	}
	logger.Info("the configuration is in force")
}

// announce says where it answers, with what, and within which limits.
func (s *serving) announce(w io.Writer, c server.Config, listeners []net.Listener) {
	scheme := "http"
	if c.Certificate != "" {
		scheme = "https"
	}
	var where, what []string
	for _, l := range listeners {
		if l.Addr().Network() == "unix" {
			where = append(where, "unix:"+l.Addr().String())
		} else {
			where = append(where, scheme+"://"+l.Addr().String())
		}
	}
	for _, m := range c.Engine.Models {
		what = append(what, fmt.Sprintf("%s (%s, %s)", strings.Join(append([]string{m.Name}, m.Aliases...), ", "), m.Path, cmp.Or(m.Precision, "f32")))
	}
	who := "anybody"
	switch {
	case c.Tokens != "" && c.ClientCA != "":
		who = "who has a token and a certificate"
	case c.Tokens != "":
		who = "who has a token"
	case c.ClientCA != "":
		who = "who has a certificate"
	}
	fmt.Fprintf(w, "serving %s to %s\nmodels: %s\nlimits: %d MiB a body, %d MiB and %d pixels a picture, %d items a request, %d items and %d MiB in the queue, %v a request\n",
		strings.Join(where, ", "), who, strings.Join(what, "; "), s.maxBody, s.maxImage, s.maxPixels, s.maxItems, s.queueItems, s.queueBytes, s.timeout)
	if c.Runs != "" {
		fmt.Fprintf(w, "finetuning: runs in %s, data of %s\n", c.Runs, c.Data)
	}
	if c.Insecure {
		fmt.Fprintln(w, "note: --insecure permits other machines without TLS or tokens")
	}
}
