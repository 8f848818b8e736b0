package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/vitago/vitago/clip"
	"github.com/vitago/vitago/demo"
	"github.com/vitago/vitago/internal/builtin"
	"github.com/vitago/vitago/shard"
	"github.com/vitago/vitago/shard/nats"
	"github.com/vitago/vitago/shard/output"
)

// accessFlags adds what says where a broker is that is there already, by the names of NATS' own command.
func accessFlags(cmd *cobra.Command) *nats.Access {
	a := &nats.Access{}
	f := cmd.Flags()
	f.StringVar(&a.URL, "nats", os.Getenv("NATS_URL"), "`URL` of NATS servers, with commas between them (default: NATS_URL)")
	f.StringVar(&a.Context, "context", os.Getenv("NATS_CONTEXT"), "`NAME` of a context of NATS' own command (default: NATS_CONTEXT)")
	f.StringVar(&a.User, "user", os.Getenv("NATS_USER"), "`NAME` of a user (default: NATS_USER); the password is NATS_PASSWORD")
	f.StringVar(&a.Creds, "creds", os.Getenv("NATS_CREDS"), "`FILE` of a user's credentials (default: NATS_CREDS)")
	f.StringVar(&a.NKey, "nkey", os.Getenv("NATS_NKEY"), "`FILE` of a user's nkey (default: NATS_NKEY)")
	f.StringVar(&a.Cert, "tlscert", os.Getenv("NATS_CERT"), "`FILE` of this client's certificate (default: NATS_CERT)")
	f.StringVar(&a.Key, "tlskey", os.Getenv("NATS_KEY"), "`FILE` of the certificate's key (default: NATS_KEY)")
	f.StringVar(&a.CA, "tlsca", os.Getenv("NATS_CA"), "`FILE` of the authorities of servers' certificates (default: NATS_CA)")
	f.BoolVar(&a.TLSFirst, "tlsfirst", false, "TLS before the server says anything")
	return a
}

// secrets are the flags that say who connects to a broker that is there already.
var secrets = []string{"creds", "nkey", "tlscert", "tlskey", "tlsca", "tlsfirst"}

// settle makes what the command line says go before what the environment says.
func settle(cmd *cobra.Command, a *nats.Access) {
	f := cmd.Flags()
	switch {
	case f.Changed("context"):
		was := *a
		*a = nats.Access{Context: was.Context}
		for name, to := range map[string]struct{ to, from *string }{
			"nats": {&a.URL, &was.URL}, "user": {&a.User, &was.User}, "creds": {&a.Creds, &was.Creds}, "nkey": {&a.NKey, &was.NKey},
			"tlscert": {&a.Cert, &was.Cert}, "tlskey": {&a.Key, &was.Key}, "tlsca": {&a.CA, &was.CA},
		} {
			if f.Changed(name) { // together with a context, which is an error
				*to.to = *to.from
			}
		}
		a.TLSFirst = was.TLSFirst
	case f.Changed("nats"):
		a.Context = ""
	}
}

// external says whether a broker is named that is there already.
func external(a *nats.Access) bool { return a.URL != "" || a.Context != "" }

// defaultWait is for processes that are started together.
const defaultWait = time.Minute

// waitFlag adds how long a broker may not be there yet.
func waitFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("wait", defaultWait, "`TIME` to wait for the broker, and for a driver that describes the job")
}

// connect connects to a broker that is there already, for which it waits as long as ctx does.
func connect(ctx context.Context, cmd *cobra.Command, a *nats.Access) (*client.Conn, error) {
	with := *a
	if with.User != "" {
		with.Password = os.Getenv("NATS_PASSWORD")
	}
	return with.Connect(ctx, "vitago-nats "+cmd.Name(), say(cmd))
}

// A broker is the server that this process starts, or one that is there already.
type broker struct {
	access *nats.Access
	embed  nats.EmbedOptions
	queue  nats.Options
}

// brokerFlags adds what says where the broker is, and how long a worker may be silent.
func brokerFlags(cmd *cobra.Command) *broker {
	b := &broker{access: accessFlags(cmd)}
	f := cmd.Flags()
	f.StringVar(&b.embed.Dir, "dir", "", "`DIR` of the embedded server's files (default: in the user's cache, by the name of the job)")
	f.StringVar(&b.embed.Listen, "listen", "", "`HOST:PORT` at which the embedded server waits for other workers (default: it does not)")
	f.StringVar(&b.embed.Config, "config", "", "`FILE` of nats-server's configuration for the embedded server: users, TLS, a cluster")
	jobFlag(cmd, &b.queue)
	f.IntVar(&b.queue.Replicas, "replicas", 1, "`N` servers of the cluster keep the queue: 1, 3 or 5")
	f.DurationVar(&b.queue.Lease, "lease", nats.DefaultLease, "after this `TIME` without a word a worker has lost its shard")
	f.DurationVar(&b.queue.Stuck, "stuck", nats.DefaultStuck, "after this `TIME` without a new row a worker has lost its shard")
	f.IntVar(&b.queue.Deliveries, "deliveries", nats.DefaultDeliveries, "a shard that kills its workers is given up after `N` of them, twice")
	return b
}

func jobFlag(cmd *cobra.Command, o *nats.Options) {
	cmd.Flags().StringVar(&o.Job, "job", nats.DefaultJob, "`NAME` of the job at the broker")
}

// open connects to the broker, and returns what ends it: that waits a while for the workers to hear that the job is over.
func (b *broker) open(cmd *cobra.Command) (nc *client.Conn, end func(), err error) {
	settle(cmd, b.access)
	if external(b.access) {
		for _, name := range []string{"dir", "listen", "config"} {
			if cmd.Flags().Changed(name) {
				return nil, nil, usagef("--%s is of an embedded server, and one is named that is there already", name)
			}
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), defaultWait)
		defer cancel()
		nc, err := connect(ctx, cmd, b.access)
		if err != nil {
			return nil, nil, err
		}
		return nc, nc.Close, nil
	}
	for _, name := range secrets {
		if cmd.Flags().Changed(name) {
			return nil, nil, usagef("--%s is of a broker that is there already: give --nats URL with it", name)
		}
	}
	if b.embed.Config == "" && (cmd.Flags().Changed("user") || b.queue.Replicas != 1) {
		return nil, nil, usagef("--user and --replicas go with --nats, or with --config, which says the embedded server's users and cluster")
	}
	if b.embed.Dir == "" && b.embed.Config == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, nil, fmt.Errorf("the embedded server's files: %w; give --dir", err)
		}
		b.embed.Dir = filepath.Join(cache, "vitago", "nats", b.queue.Job)
	}
	b.embed.Log = say(cmd)
	s, err := nats.Embed(b.embed)
	if err != nil {
		return nil, nil, err
	}
	var o []client.Option
	if b.access.User != "" && b.embed.Config != "" {
		o = append(o, client.UserInfo(b.access.User, os.Getenv("NATS_PASSWORD")))
	}
	if nc, err = s.Connect(o...); err != nil {
		s.Close()
		return nil, nil, err
	}
	if url := s.URL(); url != "" {
		say(cmd)("workers: vitago-nats work --nats " + url + " --job " + b.queue.Job)
	}
	return nc, func() { nc.Close(); s.Drain(); s.Close() }, nil
}

// A dataset is what is encoded, how, and to where.
type dataset struct {
	model, precision string
	o                shard.Options
	json             bool
}

func datasetFlags(cmd *cobra.Command) *dataset {
	d := &dataset{}
	f := cmd.Flags()
	f.StringVar(&d.model, "model", "", "`DIR` or file of the checkpoint, which goes to the workers, or "+demo.Name)
	f.StringVar(&d.precision, "precision", "f32", "of the products: f32, bf16 or int8")
	f.StringVarP(&d.o.Output, "output", "o", "", "the dataset: a `FOLDER` that all workers have, or s3://BUCKET/PREFIX")
	f.IntVar(&d.o.Input.PerShard, "per-shard", 10_000, "`N` images a shard, of folders, lists and tables; a tar is one")
	f.StringVar(&d.o.Input.Bytes, "bytes-column", "", "`NAME` of a parquet's column that has the images (default: the one whose name says so)")
	f.StringVar(&d.o.Input.Caption, "caption-column", "", "`NAME` of a parquet's column of captions (default: the one whose name says so)")
	f.StringVar(&d.o.Input.Key, "key-column", "", "`NAME` of a parquet's column that names images (default: the one whose name says so)")
	f.StringVar(&d.o.Format, "format", "", "of the files: "+strings.Join(output.Formats(), ", ")+" (default npy)")
	f.BoolVar(&d.o.Float32, "float32", false, "of npy: float32 in place of float16")
	f.BoolVar(&d.o.Captions, "captions", false, "encode captions as well")
	f.Float64Var(&d.o.MaxErrors, "max-errors", 0.1, "a shard fails if more than this `SHARE` of its pictures cannot be encoded")
	f.BoolVar(&d.o.Resume, "resume", false, "go on with a dataset that has been begun")
	f.BoolVar(&d.o.RetryFailed, "retry-failed", false, "try shards again that have failed")
	f.BoolVar(&d.json, "json", false, "the summary as JSON")
	return d
}

// settings are what workers have to know of a dataset.
type settings struct {
	Output    string `json:"output"`
	Builtin   string `json:"builtin,omitempty"` // the name of a model that is part of the program
	Precision string `json:"precision"`
}

// choices are what a driver may say otherwise than the one before it.
type choices struct {
	MaxErrors   float64 `json:"max_errors"`
	RetryFailed bool    `json:"retry_failed"`
}

// open opens model and job, as a driver does.
func (d *dataset) open(ctx context.Context, inputs []string) (m *clip.Model, j *shard.Job, s settings, err error) {
	switch {
	case d.model == "":
		return nil, nil, s, usagef("no model: give --model DIR, or --model %s", demo.Name)
	case d.o.Output == "":
		return nil, nil, s, usagef("no output: give -o FOLDER or -o s3://BUCKET/PREFIX")
	case d.o.Input.PerShard < 1:
		return nil, nil, s, usagef("--per-shard is %d, want at least 1", d.o.Input.PerShard)
	case !(d.o.MaxErrors >= 0 && d.o.MaxErrors <= 1):
		return nil, nil, s, usagef("--max-errors is %v, want 0 to 1", d.o.MaxErrors)
	case d.o.Batch < 0:
		return nil, nil, s, usagef("--batch is %d, want at least 1", d.o.Batch)
	case d.o.RetryFailed && !d.o.Resume:
		return nil, nil, s, usagef("--retry-failed goes with --resume")
	}
	if !strings.Contains(d.o.Output, "://") { // workers are elsewhere
		if d.o.Output, err = filepath.Abs(d.o.Output); err != nil {
			return nil, nil, s, err
		}
	}
	d.o.Inputs = inputs
	for i, in := range inputs {
		if !strings.Contains(in, "://") {
			if inputs[i], err = filepath.Abs(in); err != nil {
				return nil, nil, s, err
			}
		}
	}
	s = settings{Output: d.o.Output, Precision: d.precision}
	if isBuiltin(d.model) {
		s.Builtin = d.model
	}
	if m, err = openModel(d.model, d.precision); err != nil {
		return nil, nil, s, err
	}
	if j, err = shard.Open(ctx, m, d.o); err != nil {
		m.Close()
		return nil, nil, s, err
	}
	return m, j, s, nil
}

func isBuiltin(model string) bool { return strings.HasPrefix(model, builtin.Prefix) }

// openModel opens a model in a precision.
func openModel(path, precision string) (*clip.Model, error) {
	switch precision {
	case "f32":
		return clip.Open(path)
	case "bf16":
		return clip.Open(path, clip.BF16())
	case "int8":
		return clip.Open(path, clip.Int8())
	}
	return nil, usagef("--precision is %q, want f32, bf16 or int8", precision)
}

// say returns what writes lines to a command's standard error.
func say(cmd *cobra.Command) func(string) {
	return func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
}

func marshal(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types
	}
	return b
}
