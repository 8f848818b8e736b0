package shard

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vitago/vitago/shard/store"
)

// version is that of the files beside a dataset.
const version = 1

// beside is the folder in which lies what is no dataset, but about one.
const beside = "vitago/"

// A dataset is an output and its plan.
type dataset struct {
	location string
	store    store.Store
	plan     *Plan
	sum      string  // the SHA-256 of the plan's file
	ends     []int64 // where the lines of all parts end
}

// openDataset reads the plan at a location. Without one the error is [ErrNoPlan].
func openDataset(ctx context.Context, location string) (*dataset, error) {
	s, err := store.Open(ctx, location)
	if err != nil {
		return nil, err
	}
	if !store.IsLocal(location) {
		s = patient{s, wait}
	}
	d := &dataset{location: location, store: s}
	text, _, err := store.Read(ctx, s, planName, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return d, fmt.Errorf("shard: %s: %w: it has no %s", location, ErrNoPlan, planName)
	}
	if err != nil {
		return d, err
	}
	if d.plan, err = parsePlan(text); err != nil {
		return d, fmt.Errorf("shard: %s: %s: %w", location, planName, err)
	}
	d.sum = sumOf(text)
	return d, nil
}

// sumOf returns the SHA-256 of a file in hexadecimal digits.
func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// samePlan returns an error if the plan in the store is not that of this worker any more.
func (d *dataset) samePlan(ctx context.Context) error {
	text, _, err := store.Read(ctx, d.store, planName, maxSmall)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("shard: %s: %w: the plan of this worker has been deleted", d.location, ErrOther)
	}
	if err == nil && sumOf(text) != d.sum {
		err = fmt.Errorf("shard: %s: %w: it has another plan than this worker began with", d.location, ErrOther)
	}
	return err
}

// number writes the number of a shard as the names of files have it.
func (d *dataset) number(n int) string { return fmt.Sprintf("%0*d", d.plan.Spec.Digits, n) }

func (d *dataset) failureName(n int) string { return beside + "failed/" + d.number(n) + ".json" }

func (d *dataset) claimName(n, generation int) string {
	return fmt.Sprintf("%sclaims/%s.%d.json", beside, d.number(n), generation)
}

func (d *dataset) recordName(n, generation int) string {
	if generation == 0 {
		return beside + "shards/" + d.number(n) + ".json"
	}
	return fmt.Sprintf("%sshards/%s.%d.json", beside, d.number(n), generation)
}

const temporaryFolder = beside + "tmp/"

// temporary is the folder in which a worker writes a shard, with a slash at its end.
func (d *dataset) temporary(n, generation int, worker string) string {
	return fmt.Sprintf("%s%s.%d.%s/", temporaryFolder, d.number(n), generation, worker)
}

// maxGeneration bounds generations: a name with a larger one is none that a worker wrote.
const maxGeneration = 1_000_000_000

// parseName returns the number of a shard and the generation that the name of a claim or a record has.
func (d *dataset) parseName(name string) (n, generation int, ok bool) {
	parts := strings.Split(strings.TrimSuffix(path.Base(name), ".json"), ".")
	if len(parts) > 2 || !strings.HasSuffix(name, ".json") {
		return 0, 0, false
	}
	n, err := strconv.Atoi(parts[0])
	if err != nil || n < 0 || n >= d.plan.Shards || d.number(n) != parts[0] {
		return 0, 0, false
	}
	if len(parts) == 2 {
		if generation, err = strconv.Atoi(parts[1]); err != nil || generation < 0 || generation > maxGeneration || strconv.Itoa(generation) != parts[1] {
			return 0, 0, false
		}
	}
	return n, generation, true
}

// latest returns the highest generation of the files of a shard, -1 if there is none, with what the store knows of it. kind is "claims" or "shards".
func (d *dataset) latest(ctx context.Context, kind string, shard int) (generation int, of store.Info, err error) {
	generation = -1
	for i, err := range d.store.List(ctx, beside+kind+"/"+d.number(shard)+".") {
		if err != nil {
			return -1, of, err
		}
		if n, g, ok := d.parseName(i.Name); ok && n == shard && g > generation {
			generation, of = g, i
		}
	}
	return generation, of, nil
}

// A newest has the highest generation of each shard that has one.
type newest map[int]int

// of returns that of a shard, -1 if there is none.
func (m newest) of(n int) int {
	if g, ok := m[n]; ok {
		return g
	}
	return -1
}

// newest is latest of all shards, by one listing: in a folder, and for many shards in a bucket too, one for each takes longer than all else.
func (d *dataset) newest(ctx context.Context, kind string) (newest, error) {
	all := newest{}
	for i, err := range d.store.List(ctx, beside+kind+"/") {
		if err != nil {
			return nil, err
		}
		if n, g, ok := d.parseName(i.Name); ok {
			all[n] = max(g, all[n])
		}
	}
	return all, nil
}

// remove deletes all whose names begin with a prefix.
func (d *dataset) remove(ctx context.Context, prefix string) error {
	var names []string
	for i, err := range d.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		names = append(names, i.Name)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, d.store.Delete(ctx, name))
	}
	return errors.Join(errs...)
}

// folder returns where this machine has the files that lie under a name of the output, "" if it is a store elsewhere.
func (d *dataset) folder(name string) string {
	if !store.IsLocal(d.location) {
		return ""
	}
	return filepath.Join(d.location, filepath.FromSlash(name))
}

// sweep deletes what workers have left of a shard that has a record of a generation.
func (d *dataset) sweep(ctx context.Context, n, generation int) {
	prefix := temporaryFolder + d.number(n) + "." // of all workers
	old := func(folder string) bool {             // N.GENERATION.WORKER
		parts := strings.SplitN(folder, ".", 3)
		g, err := strconv.Atoi(parts[min(1, len(parts)-1)])
		return len(parts) == 3 && err == nil && g >= 0 && g <= generation
	}
	for i, err := range d.store.List(ctx, prefix) {
		if err != nil {
			break // it harms nothing
		}
		if folder, _, _ := strings.Cut(strings.TrimPrefix(i.Name, temporaryFolder), "/"); old(folder) {
			_ = d.store.Delete(ctx, i.Name)
		}
	}
	if dir := d.folder(temporaryFolder); dir != "" { // which has empty folders then
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), d.number(n)+".") && old(e.Name()) {
				removeEmpty(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// removeEmpty removes a folder and those in it, as far as they are empty.
func removeEmpty(dir string) {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		os.Remove(dir) // fails if it is not empty
	}
}

// tidy deletes what workers that died have left of shards that are done: temporary files, and claims.
func (d *dataset) tidy(ctx context.Context) error {
	left := map[int]bool{}
	note := func(base string) {
		if number, _, ok := strings.Cut(base, "."); ok {
			if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < d.plan.Shards {
				left[n] = true
			}
		}
	}
	if dir := d.folder(temporaryFolder); dir != "" { // which has empty folders, too
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			note(e.Name())
		}
	}
	for _, folder := range []string{temporaryFolder, beside + "claims/"} {
		for i, err := range d.store.List(ctx, folder) {
			if err != nil {
				return err
			}
			base, _, _ := strings.Cut(strings.TrimPrefix(i.Name, folder), "/")
			note(base)
		}
	}
	if len(left) == 0 {
		return nil
	}
	records, err := d.newest(ctx, "shards")
	if err != nil {
		return err
	}
	for n := range left {
		r, _, err := d.recordAt(ctx, n, records.of(n))
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if whole, err := d.settle(ctx, r); err != nil {
			return err
		} else if whole {
			d.sweep(ctx, n, r.Generation)
			if err := d.remove(ctx, beside+"claims/"+d.number(n)+"."); err != nil {
				return err
			}
		}
	}
	return nil
}
