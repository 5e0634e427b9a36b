package apiclient

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// lister returns a Lister of the pods that a server with this handler lists.
func lister(t *testing.T, handler http.HandlerFunc) Lister[corev1.Pod] {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	cfg := &rest.Config{Host: server.URL, APIPath: "/api", QPS: -1}
	cfg.GroupVersion = &corev1.SchemeGroupVersion
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(kruntime.NewScheme()).WithoutConversion()
	client, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	core, err := rest.RESTClientForConfigAndClient(cfg, client)
	if err != nil {
		t.Fatal(err)
	}
	return Lister[corev1.Pod]{
		Noun:    "pods",
		Request: func() *rest.Request { return core.Get().Resource("pods") },
		Size:    func(p *corev1.Pod) int { return p.Size() + int(unsafe.Sizeof(*p)) },
	}
}

const (
	head1   = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":%q},"items":[`
	pod1    = `{"metadata":{"name":"web","namespace":"shop"},"spec":{"containers":[{"name":"web"}]}}`
	mib     = 1 << 20
	maxHeap = 160 << 20
)

// gigabyte writes 1 GiB of repeated text, or less if the client closes the
// connection.
func gigabyte(w io.Writer, text string) {
	chunk := []byte(strings.Repeat(text, max(1, mib/len(text))))
	for range 1 << 10 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// bomb answers with 1 GiB of pods, compressed to about 1 MiB.
func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = fmt.Fprintf(z, head1, "")
	gigabyte(z, pod1+",")
	_ = z.Close()
}

// peakHeap returns the largest size of the heap while f runs, in bytes, including
// objects that are not used any more.
func peakHeap(f func()) uint64 {
	runtime.GC() // what earlier tests have allocated does not count
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for largest := uint64(0); ; {
			metrics.Read(heap)
			largest = max(largest, heap[0].Value.Uint64())
			select {
			case <-stop:
				peak <- largest
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(stop)
	return <-peak
}

func TestList_HugeAnswers(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long with the race detector, and tests no goroutine")
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"an endless page", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, head1, "")
			gigabyte(w, `{"metadata":{"name":"web","annotations":{"a":"`+strings.Repeat("x", 100_000)+`"}}},`)
		}, "a page of the list of pods is larger than 64 MiB"},
		{"endless small pods", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, head1, "")
			gigabyte(w, `{},`)
		}, "the list of pods is larger than 32 MiB"},
		{"a compressed page", bomb, "the list of pods is larger than 32 MiB"},
		{"a huge pod", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, head1+`{"metadata":{"name":"`, "")
			gigabyte(w, "x")
		}, "an object in the list of pods is larger than 4 MiB"},
		{"endless white space", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, head1, "")
			gigabyte(w, " ")
		}, "larger than"},
		{"a huge field of the list", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"kind":"PodList","extra":"`)
			gigabyte(w, "x")
		}, "an object in the list of pods is larger than 4 MiB"},
		{"a huge error response", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusInternalServerError)
			gigabyte(w, "x")
		}, "the server's answer is larger than 4 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := lister(t, tt.handler)
			// The annotations are removed, so that the large pods reach MaxPage
			// before MaxKept.
			l.Keep = func(p *corev1.Pod) bool { p.Annotations = nil; return true }
			var err error
			peak := peakHeap(func() { _, _, err = l.List(t.Context()) })
			var large *TooLargeError
			if !errors.As(err, &large) || !strings.Contains(large.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if peak > maxHeap {
				t.Errorf("%d MiB of memory used", peak>>20)
			}
		})
	}
}

func TestList_EndlessPages(t *testing.T) {
	var asked atomic.Int32
	l := lister(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = fmt.Fprintf(w, head1+"]}", "more")
	})
	_, _, err := l.List(t.Context())
	var large *TooLargeError
	if !errors.As(err, &large) || large.Error() != "the list of pods has more than 100 pages" ||
		asked.Load() != MaxPages {
		t.Errorf("got %v after %d pages", err, asked.Load())
	}
}

func TestList_PagesAreJoined(t *testing.T) {
	l := lister(t, func(w http.ResponseWriter, r *http.Request) {
		next := map[string]string{"": "b", "b": "c", "c": ""}[r.URL.Query().Get("continue")]
		if r.URL.Query().Get("limit") != "500" {
			t.Errorf("asked for %s", r.URL)
		}
		_, _ = fmt.Fprintf(w, head1+pod1+","+pod1+"]}", next)
	})
	pods, version, err := l.List(t.Context())
	if err != nil || len(pods) != 6 || version != "7" || pods[5].Spec.Containers[0].Name != "web" {
		t.Errorf("%d pods, version %q, %v", len(pods), version, err)
	}
}

func TestList_NotAList(t *testing.T) {
	for _, text := range []string{
		"<html>log in</html>", `{"kind":"Pod"}`, `[1]`, `{"kind":"PodList","items":{}}`, `"x"`, `{"kind":7}`,
	} {
		l := lister(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
		_, _, err := l.List(t.Context())
		var notList *NotListError
		var page *PageError
		isPage := strings.HasPrefix(text, "<html>")
		if isPage != errors.As(err, &page) || isPage == errors.As(err, &notList) || !IsForeign(err, "pods", "") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestList_CutOff(t *testing.T) {
	for _, text := range []string{"", "{", fmt.Sprintf(head1, "") + pod1, fmt.Sprintf(head1, "") + pod1[:20]} {
		l := lister(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
		if _, _, err := l.List(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) || IsForeign(err, "pods", "") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDecoder_LimitIsPerValue(t *testing.T) {
	d := NewDecoder(strings.NewReader(strings.Repeat(`"`+strings.Repeat("x", MaxObject/2)+`"`+"\n", 5)), "an event")
	for i := range 5 {
		var s string
		if err := d.Decode(&s); err != nil || len(s) != MaxObject/2 {
			t.Fatalf("value %d: %d bytes, %v", i, len(s), err)
		}
	}
	d = NewDecoder(strings.NewReader(`"`+strings.Repeat("x", MaxObject)+`"`), "an event")
	var s string
	if err := d.Decode(&s); err == nil || err.Error() != "an event is larger than 4 MiB" {
		t.Errorf("got %v", err)
	}
}
