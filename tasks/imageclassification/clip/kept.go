package clip

import (
	"container/list"
	"context"
	"sync"

	"github.com/vitago/vitago/zeroshot"
)

// keptLabels is how many labels the classifiers have together that are kept: 100 MB with embeddings of 768 values.
const keptLabels = 1 << 14

// kept are the classifiers that were asked for last.
type kept struct {
	mu     *sync.Mutex
	room   int // labels
	filled int
	byKey  map[string]*list.Element // of *entry
	recent *list.List               // the last that was asked for in front
}

// An entry is a classifier of so many labels.
type entry struct {
	key    string
	labels int
	turn   chan struct{} // of who may make the classifier, or look
	judge  *zeroshot.Classifier
}

func newKept(room int) kept {
	return kept{mu: new(sync.Mutex), room: room, byKey: map[string]*list.Element{}, recent: list.New()}
}

// get returns the classifier of a key. It is made once: who comes meanwhile waits, and makes it if that fails. One of more labels than
// there is room for is not kept.
func (k *kept) get(ctx context.Context, key string, labels int, build func() (*zeroshot.Classifier, error)) (*zeroshot.Classifier, error) {
	if labels > k.room {
		return build()
	}
	e := k.entry(key, labels)
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if e.judge != nil {
		return e.judge, nil
	}
	judge, err := build()
	if err != nil {
		k.forget(e)
		return nil, err
	}
	e.judge = judge
	return judge, nil
}

// entry returns that of a key, and lets go of those for which there is no room any more.
func (k *kept) entry(key string, labels int) *entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, ok := k.byKey[key]; ok {
		k.recent.MoveToFront(at)
		return at.Value.(*entry)
	}
	e := &entry{key: key, labels: labels, turn: make(chan struct{}, 1)}
	k.byKey[key] = k.recent.PushFront(e)
	for k.filled += labels; k.filled > k.room; {
		k.remove(k.recent.Back())
	}
	return e
}

// forget lets go of an entry whose classifier could not be made.
func (k *kept) forget(e *entry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at, ok := k.byKey[e.key]; ok && at.Value == e {
		k.remove(at)
	}
}

// remove lets go of an entry. Who has its classifier keeps that.
func (k *kept) remove(at *list.Element) {
	e := k.recent.Remove(at).(*entry)
	delete(k.byKey, e.key)
	k.filled -= e.labels
}
