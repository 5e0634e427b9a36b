package node

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// serve gives a client of a server that answers so.
func serve(t *testing.T, answer http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := NewClient(&rest.Config{Host: server.URL, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// status answers as the API server does for the object that r names.
func status(w http.ResponseWriter, r *http.Request, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason,
		Details: &metav1.StatusDetails{Kind: path.Base(path.Dir(r.URL.Path)), Name: path.Base(r.URL.Path)},
	})
}

func TestAPodIsDeletedByItsUIDAndAsOftenAsItTakes(t *testing.T) {
	for name, c := range map[string]struct {
		codes []int // of the server, one after the other
		tries int
		fails bool
	}{
		"at once":                       {[]int{200}, 1, false},
		"gone already":                  {[]int{404}, 1, false},
		"another has its name":          {[]int{409}, 1, false},
		"the server is in trouble":      {[]int{500, 503, 200}, 3, false},
		"the right was taken meanwhile": {[]int{403}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := Pod(wanted())
			p.UID = "the-uid"
			tries := 0
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries++
				var options metav1.DeleteOptions
				body, _ := io.ReadAll(r.Body)
				if err := json.Unmarshal(body, &options); err != nil || r.Method != http.MethodDelete || r.URL.Path != "/api/v1/namespaces/ops/pods/"+p.Name ||
					options.Preconditions == nil || options.Preconditions.UID == nil || *options.Preconditions.UID != "the-uid" {
					t.Errorf("%s %s: %s (%v)", r.Method, r.URL.Path, body, err)
				}
				code := c.codes[min(tries, len(c.codes))-1]
				if code == http.StatusOK {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
					return
				}
				status(w, r, code, map[int]metav1.StatusReason{404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict, 403: metav1.StatusReasonForbidden}[code])
			})
			if err := client.Remove(t.Context(), p); (err != nil) != c.fails || tries != c.tries {
				t.Errorf("%v after %d tries", err, tries)
			}
		})
	}
}

func TestAnEndlessDeletionEnds(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { status(w, r, 500, metav1.StatusReasonInternalError) })
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := client.Remove(ctx, Pod(wanted())); err == nil || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestANodeThatIsNotThereIsSaidSo(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { status(w, r, 404, metav1.StatusReasonNotFound) })
	_, err := client.Node(t.Context(), "nowhere")
	if err == nil || err.Error() != `there is no node "nowhere"` {
		t.Error(err)
	}
}
