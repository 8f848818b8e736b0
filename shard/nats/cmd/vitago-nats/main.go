// Vitago-nats encodes the shards of a dataset by many workers, to whom NATS JetStream hands them out. "vitago-nats help" lists
// what it does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vitago/vitago/shard"
	_ "github.com/vitago/vitago/shard/store/s3" // s3://
)

// The exit statuses, those of vitago.
const (
	exitDone        = 0
	exitFailed      = 1 // trying again may help
	exitUsage       = 2
	exitUseless     = 42 // it would fail again
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// A usageError is a command line that asks for nothing we can do.
type usageError struct{ error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// errUseless is of shards that have failed and would fail again.
var errUseless = errors.New("shards have failed, and would again")

// run executes a command line, and returns its status. Results go to out, everything else to errw.
func run(ctx context.Context, args []string, out, errw io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errw)
	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitDone
	case !started || errors.As(err, new(usageError)):
		fmt.Fprintf(errw, "%s: %v\nRun '%[1]s --help' for usage.\n", cmd.CommandPath(), err)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(errw, "vitago-nats: interrupted; the same command line goes on with --resume")
		return exitInterrupted
	}
	fmt.Fprintln(errw, "vitago-nats:", err)
	if errors.Is(err, errUseless) || shard.Useless(err) {
		return exitUseless
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "vitago-nats",
		Short: "Encode shards by many workers, handed out by NATS JetStream",
		Long: `Vitago-nats encodes a dataset as "vitago encode --shards" does, to the same files, and "vitago status", "verify-shards" and "merge" read
them. Who works at which shard NATS JetStream says: a server in the process, or one that is there already.

The records beside the dataset say what is done, and the broker is only a queue: driver, workers and servers may be killed at
any time, and what is missing is put into the queue again.

Status 0 is of a dataset that is done, 1 of one where trying again may help, 42 where it does not, 2 of wrong usage.`,
		Example: `  vitago-nats run --model models/vit-l-14-336 -o out photos/
  vitago-nats drive --model models/vit-l-14-336 -o s3://bucket/out --listen 127.0.0.1:4222 s3://bucket/tars/
  vitago-nats work --nats nats://127.0.0.1:4222
  vitago-nats drive --nats tls://nats.example.com --creds encode.creds --replicas 3 --model models/vit-l-14-336 -o s3://bucket/out --resume s3://bucket/tars/`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(newDrive(), newWork(), newRun(), newRemove())
	return root
}
