package pod

import (
	"encoding/json"
	"strings"
	"testing"

	"kshell/internal/apiclient"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestWatchQuery_OnePod(t *testing.T) {
	tests := []struct{ namespace, name, version, path, query string }{
		{
			"shop",
			"web-0",
			"17",
			"/api/v1/namespaces/shop/pods",
			"fieldSelector=metadata.name%3Dweb-0&resourceVersion=17&watch=true",
		},
		{"shop", "web", "", "/api/v1/namespaces/shop/pods", "fieldSelector=metadata.name%3Dweb&watch=true"},
		{
			"..",
			"a,b=c",
			"",
			"/api/v1/namespaces/%2E%2E/pods",
			`fieldSelector=metadata.name%3Da%5C%2Cb%5C%3Dc&watch=true`,
		},
	}
	for _, test := range tests {
		path := podsPath(test.namespace)
		query := watchQuery("fieldSelector", nameSelector(test.name), test.version).Encode()
		if path != test.path || query != test.query {
			t.Errorf(
				"watch of %q in %q from version %q: got %s, %s",
				test.name,
				test.namespace,
				test.version,
				path,
				query,
			)
		}
	}
}

func TestOlder(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"6", "7", true},
		{"7", "7", false},
		{"10", "9", false},
		{"9", "10", true},
		{"", "7", false},
		{"7", "", false},
		{"x6", "7", false},
		{"6", "x7", false},
		{"9", "18446744073709551615", true},
	} {
		if got := older(test.a, test.b); got != test.want {
			t.Errorf("%q before %q: got %v", test.a, test.b, got)
		}
	}
}

func event(t *testing.T, kind string, object any) []byte {
	t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "object": object})
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func TestDecodeEvent(t *testing.T) {
	for kind, want := range map[string]bool{"ADDED": false, "MODIFIED": false, "DELETED": true} {
		pod, deleted, err := decodeEvent(event(t, kind, runningPod("web", deleting)))
		if err != nil || deleted != want || pod.Name != "web" || pod.DeletionTimestamp == nil ||
			!pod.DeletionTimestamp.Equal(pointer(atMinute(9))) {
			t.Errorf("%s: got %v, %v, %v", kind, pod, deleted, err)
		}
	}
	if pod, deleted, err := decodeEvent(event(t, "BOOKMARK", runningPod("web"))); pod != nil || deleted || err != nil {
		t.Errorf("bookmark: got %v, %v, %v", pod, deleted, err)
	}
}

func TestDecodeEvent_Expired(t *testing.T) {
	_, _, err := decodeEvent(
		event(t, "ERROR", errorStatus(410, metav1.StatusReasonExpired, "too old resource version: 1 (9)")),
	)
	if !apierrors.IsResourceExpired(err) || !strings.Contains(err.Error(), "too old") {
		t.Errorf("got %v, want an error for which apierrors.IsResourceExpired is true", err)
	}
	_, _, err = decodeEvent(event(t, "ERROR", errorStatus(410, metav1.StatusReasonGone, "gone")))
	if !apierrors.IsGone(err) {
		t.Errorf("got %v, want an error for which apierrors.IsGone is true", err)
	}
	for _, message := range []string{
		``, `{`, `{}`, `[]`, `{"type":"RENAMED","object":{}}`, `{"type":"ADDED"}`, `{"type":"ADDED","object":[]}`,
		`{"type":"ADDED","object":{}}`, `{"type":"ERROR","object":7}`,
	} {
		if pod, _, err := decodeEvent([]byte(message)); err == nil || pod != nil || apiclient.IsExpired(err) {
			t.Errorf("%q: got %v, %v; want another error", message, pod, err)
		}
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(`{"type":"ADDED","object":{"metadata":{"name":"web"}}}`))
	f.Add([]byte(`{"type":"ERROR","object":{"code":410}}`))
	f.Add([]byte(`{"type":"BOOKMARK"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		pod, deleted, err := decodeEvent(message)
		if pod != nil && err != nil || deleted && pod == nil || pod != nil && pod.Name == "" {
			t.Errorf("%q gave %v, %v, %v", message, pod, deleted, err)
		}
	})
}
