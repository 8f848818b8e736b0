// Command image makes a container image of vitago without a container engine: the program alone, from scratch, for several
// processors.
//
//	go run ./image -o vitago.tar                     # an archive of an OCI layout, for podman load, docker load, ctr images import
//	go run ./image -o vitago.oci                     # the layout as a folder, for crane push and skopeo copy
//	go run ./image -o vitago.tar -platforms linux/amd64
//
// The same source and the same version of Go make the same image, to the bit.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image: "+err.Error())
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	out := flags.String("o", "", "`FILE`.tar or folder to write; it must not exist")
	name := flags.String("name", "vitago:latest", "`NAME:TAG` that the image is loaded under")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "`OS/ARCH` of the images, by commas")
	source := flags.String("source", "..", "`FOLDER` of the module")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *out == "" || flags.NArg() > 0 {
		return errors.New("want -o FILE.tar or -o FOLDER, and no arguments")
	}
	if _, err := os.Lstat(*out); err == nil {
		return fmt.Errorf("%s is there", *out)
	}
	var programs []program
	for _, p := range strings.Split(*platforms, ",") {
		built, err := build(ctx, *source, p)
		if err != nil {
			return err
		}
		programs = append(programs, built)
	}
	index, err := assemble(programs, roots())
	if err != nil {
		return err
	}
	if err := write(index, *name, *out); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Println(*out, digest)
	return nil
}
