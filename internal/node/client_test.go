package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// serve returns a client of a server with this handler.
func serve(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := NewClient(&rest.Config{Host: server.URL, Transport: transport}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// status writes a Status of the API server about the object that r names.
func status(w http.ResponseWriter, r *http.Request, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Code:     int32(code),
		Reason:   reason,
		Details:  &metav1.StatusDetails{Kind: path.Base(path.Dir(r.URL.Path)), Name: path.Base(r.URL.Path)},
	})
}

func TestClient_RemoveRetries(t *testing.T) {
	for name, c := range map[string]struct {
		codes []int // HTTP status codes of the responses, in order
		tries int
		fails bool
	}{
		"at once":          {[]int{200}, 1, false},
		"does not exist":   {[]int{404}, 1, false},
		"another UID":      {[]int{409}, 1, false},
		"the server fails": {[]int{500, 503, 200}, 3, false},
		"forbidden":        {[]int{403}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := Pod(testOptions())
			p.UID = "the-uid"
			tries := 0
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries++
				var options metav1.DeleteOptions
				body, _ := io.ReadAll(r.Body)
				if err := json.Unmarshal(body, &options); err != nil || r.Method != http.MethodDelete ||
					r.URL.Path != "/api/v1/namespaces/ops/pods/"+p.Name || options.Preconditions == nil ||
					options.Preconditions.UID == nil || *options.Preconditions.UID != "the-uid" {
					t.Errorf("%s %s: %s (%v)", r.Method, r.URL.Path, body, err)
				}
				code := c.codes[min(tries, len(c.codes))-1]
				if code == http.StatusOK {
					w.Header().Set("Content-Type", "application/json")
					_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Success"}`))
					return
				}
				reasons := map[int]metav1.StatusReason{
					403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict,
				}
				status(w, r, code, reasons[code])
			})
			if err := client.Remove(t.Context(), p); (err != nil) != c.fails || tries != c.tries {
				t.Errorf("%v after %d tries", err, tries)
			}
		})
	}
}

func TestClient_RemoveEndsWithContext(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		status(w, r, 500, metav1.StatusReasonInternalError)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := client.Remove(ctx, Pod(testOptions())); err == nil || time.Since(begin) > 30*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestClient_NodeNotFound(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) { status(w, r, 404, metav1.StatusReasonNotFound) })
	_, err := client.Node(t.Context(), "nowhere")
	if err == nil || err.Error() != `there is no node "nowhere"` {
		t.Error(err)
	}
}

// A pod or node counts as missing only if the API server itself answers that
// this pod or node does not exist.
func TestClient_ResponseOfAnotherServer(t *testing.T) {
	t.Parallel()
	const hint = "check `server:` in the kubeconfig"
	for name, handler := range map[string]http.HandlerFunc{
		"plain text": http.NotFound,
		"a Status without details": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404,
				"details":{},"message":"the server could not find the requested resource"}`)
		},
	} {
		client := serve(t, handler)
		if err := client.Remove(t.Context(), Pod(testOptions())); err == nil {
			t.Errorf("%s: the pod counts as deleted", name)
		}
		_, err := client.Node(t.Context(), "node1")
		var lookup *LookupError
		if !errors.As(err, &lookup) || lookup.NotFound() || !strings.Contains(lookup.Hint(), hint) {
			t.Errorf("%s: %v", name, err)
		}
		_, err = client.Create(t.Context(), Pod(testOptions()))
		var refused *CreateError
		if !errors.As(err, &refused) || refused.Cause == NoNamespace || !strings.Contains(refused.Hint(), hint) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestClient_ServerIgnoresSelector(t *testing.T) {
	t.Parallel()
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/nodes") {
			_, _ = io.WriteString(w, `{"kind":"NodeList","items":[
				{"metadata":{"name":"b","labels":{"disk":"hdd"}}},{"metadata":{"name":"a","labels":{"disk":"ssd"}}}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"kind":"PodList","items":[
			{"metadata":{"name":"web","labels":{"app":"web"}},"status":{"phase":"Failed"}}]}`)
	})
	ignored := 0
	client.ignoredSelector = func() { ignored++ }
	if nodes, err := client.Nodes(t.Context(), "disk=ssd"); err != nil || len(nodes) != 1 || nodes[0].Name != "a" {
		t.Errorf("nodes %v, %v", nodes, err)
	}
	if pods, err := client.Pods(t.Context(), ""); err != nil || len(pods) != 0 {
		t.Errorf("pods %v, %v", pods, err)
	}
	if ignored != 2 {
		t.Errorf("reported %d times", ignored)
	}
}
