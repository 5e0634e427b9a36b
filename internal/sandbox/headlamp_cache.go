package sandbox

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"sync"
)

// headlampCache is the response cache of a Headlamp server. As on the real
// server, the query of a request is not a part of the key. A list with a
// selector, a watch or a log can therefore get the answer to a request with
// another query.
//
// The real server watches the cluster, and removes answers that are out of
// date. This cache keeps an answer until the next request to the cluster that
// is not a GET.
type headlampCache struct {
	mu      sync.Mutex
	answers map[cacheKey]*cachedAnswer
}

type cacheKey struct{ cluster, path, authorization string }

type cachedAnswer struct {
	code   int
	header http.Header
	body   []byte
}

// serve answers a request for the path api of a cluster from the cache. If the
// cache has no answer, serve calls forward and stores the answer.
func (hc *headlampCache) serve(
	w http.ResponseWriter, r *http.Request, cluster, api string, forward func(http.ResponseWriter),
) {
	if !strings.HasPrefix(api, "/api/") && !strings.HasPrefix(api, "/apis/") {
		forward(w)
		return
	}
	if r.Method != http.MethodGet {
		hc.drop(cluster)
		forward(w)
		return
	}
	key := cacheKey{cluster, strings.TrimSuffix(api, "/"), r.Header.Get("Authorization")}
	if known := hc.get(key); known != nil {
		maps.Copy(w.Header(), known.header)
		w.Header().Set(cacheHeader, "true")
		w.WriteHeader(known.code)
		_, _ = w.Write(known.body) // the client may be gone
		return
	}
	rec := &answerRecorder{ResponseWriter: w, code: http.StatusOK}
	forward(rec)
	// The real server considers an answer with this word an error, and does not
	// store it.
	if rec.code < http.StatusInternalServerError && !bytes.Contains(rec.body.Bytes(), []byte("Failure")) {
		hc.put(key, &cachedAnswer{rec.code, w.Header().Clone(), rec.body.Bytes()})
	}
}

func (hc *headlampCache) get(key cacheKey) *cachedAnswer {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	return hc.answers[key]
}

func (hc *headlampCache) put(key cacheKey, answer *cachedAnswer) {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	if hc.answers == nil {
		hc.answers = map[cacheKey]*cachedAnswer{}
	}
	hc.answers[key] = answer
}

func (hc *headlampCache) drop(cluster string) {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	maps.DeleteFunc(hc.answers, func(key cacheKey, _ *cachedAnswer) bool { return key.cluster == cluster })
}

// answerRecorder passes an answer on, and keeps a copy of it.
type answerRecorder struct {
	http.ResponseWriter
	code int
	body bytes.Buffer
}

func (rec *answerRecorder) WriteHeader(code int) {
	rec.code = code
	rec.ResponseWriter.WriteHeader(code)
}

func (rec *answerRecorder) Write(data []byte) (int, error) {
	_, _ = rec.body.Write(data) // never fails
	return rec.ResponseWriter.Write(data)
}

// Unwrap returns the inner ResponseWriter, for http.ResponseController.
func (rec *answerRecorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }
