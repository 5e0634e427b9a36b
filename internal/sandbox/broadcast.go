package sandbox

import (
	"io"
	"slices"
	"sync"
)

// broadcast copies the output of a container's main process to all attached
// clients and to the log. As on a cluster, an attached client that does not
// read blocks the container and the other clients.
type broadcast struct {
	containerLog

	mu    sync.Mutex
	sinks []*sink
}

// sink is one attached client.
type sink struct {
	stdout, stderr io.Writer // nil: not requested
	gone           chan struct{}
	once           sync.Once
}

func newSink(stdout, stderr io.Writer) *sink {
	return &sink{stdout: stdout, stderr: stderr, gone: make(chan struct{})}
}

func (k *sink) detach() { k.once.Do(func() { close(k.gone) }) }

func (f *broadcast) add(k *sink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = append(f.sinks, k)
}

func (f *broadcast) drop(k *sink) {
	k.detach()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sinks = slices.DeleteFunc(f.sinks, func(other *sink) bool { return other == k })
}

func (f *broadcast) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.sinks {
		k.detach()
	}
	f.sinks = nil
}

// copy copies r, one output of the main process, until its end. It writes to
// the log and to the writer that pick returns for each client. The parameter
// first is text that copy writes before the output of r.
func (f *broadcast) copy(r io.Reader, first string, pick func(*sink) io.Writer) {
	buf := make([]byte, chunk)
	w := f.writer()
	defer w.end()
	emit := func(p []byte) {
		if len(p) > 0 {
			w.write(p)
			f.writeToSinks(p, pick)
		}
	}
	emit([]byte(first))
	for {
		n, err := r.Read(buf)
		emit(buf[:n])
		if err != nil {
			return
		}
	}
}

func (f *broadcast) writeToSinks(data []byte, pick func(*sink) io.Writer) {
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
