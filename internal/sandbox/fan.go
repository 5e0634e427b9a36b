package sandbox

import (
	"io"
	"slices"
	"sync"
)

// fan spreads the output of a container's main process over all who are attached, and writes its log. As on a
// cluster, somebody attached who does not read holds up the container and everybody else.
type fan struct {
	journal

	mu    sync.Mutex
	sinks []*sink
}

// sink is one attached client.
type sink struct {
	stdout, stderr io.Writer // nil: not wanted
	gone           chan struct{}
	once           sync.Once
}

func newSink(stdout, stderr io.Writer) *sink {
	return &sink{stdout: stdout, stderr: stderr, gone: make(chan struct{})}
}

func (k *sink) leave() { k.once.Do(func() { close(k.gone) }) }

func (f *fan) add(k *sink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = append(f.sinks, k)
}

func (f *fan) drop(k *sink) {
	k.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = slices.DeleteFunc(f.sinks, func(other *sink) bool { return other == k })
}

func (f *fan) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.sinks {
		k.leave()
	}
	f.sinks = nil
}

// copy reads one of the main process's outputs to its end. It begins with first.
func (f *fan) copy(r io.Reader, first string, pick func(*sink) io.Writer) {
	buf := make([]byte, chunk)
	w := f.writer()
	defer w.end()
	give := func(p []byte) {
		if len(p) > 0 {
			w.write(p)
			f.spread(p, pick)
		}
	}
	give([]byte(first))
	for {
		n, err := r.Read(buf)
		give(buf[:n])
		if err != nil {
			return
		}
	}
}

func (f *fan) spread(data []byte, pick func(*sink) io.Writer) {
	f.mu.Lock()
	sinks := slices.Clone(f.sinks)
	f.mu.Unlock()
	for _, k := range sinks {
		if w := pick(k); w != nil {
			if _, err := w.Write(data); err != nil {
				f.drop(k)
			}
		}
	}
}
