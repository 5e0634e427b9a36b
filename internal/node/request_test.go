package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/apiclient"
)

// recorded returns a client whose server answers each request with body. It
// also returns the URLs of the requests.
func recorded(t *testing.T, body string) (*Client, *[]*url.URL) {
	t.Helper()
	var urls []*url.URL
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		urls = append(urls, r.URL)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	})
	return client, &urls
}

// The memory limit of a list must also apply to objects that are small in the
// response, because each takes memory when decoded.
func TestClient_ListOfManySmallObjects(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes long with the race detector, and tests no goroutine")
	}
	for name, test := range map[string]struct {
		size uintptr
		item string
		list func(*Client) error
	}{
		"nodes": {unsafe.Sizeof(corev1.Node{}), `{}`, func(c *Client) error {
			_, err := c.Nodes(t.Context(), "")
			return err
		}},
		"pods": {
			unsafe.Sizeof(corev1.Pod{}),
			fmt.Sprintf(`{"metadata":{"labels":{%q:%q,%q:%q}}}`, nameLabel, nameValue, managerLabel, managerValue),
			func(c *Client) error {
				_, err := c.Pods(t.Context(), "")
				return err
			},
		},
		"namespaces": {unsafe.Sizeof(corev1.Namespace{}), `{}`, func(c *Client) error {
			_, _, err := c.PrivilegedNamespaces(t.Context())
			return err
		}},
	} {
		items := strings.Repeat(","+test.item, apiclient.MaxKept/int(test.size)+1)
		client, _ := recorded(t, `{"kind":"List","items":[`+items[1:]+`]}`)
		var large *apiclient.TooLargeError
		if err := test.list(client); !errors.As(err, &large) {
			t.Errorf("%s: got %v, want a *apiclient.TooLargeError", name, err)
		}
	}
}

func TestClient_PodsOfANamespace(t *testing.T) {
	for namespace, want := range map[string]string{"": "/api/v1/pods", "ops": "/api/v1/namespaces/ops/pods"} {
		client, urls := recorded(t, `{"kind":"PodList","items":[]}`)
		if _, err := client.Pods(t.Context(), namespace); err != nil || len(*urls) != 1 || (*urls)[0].Path != want {
			t.Errorf("namespace %q: requested %v, %v, want %s", namespace, *urls, err, want)
		}
	}
}

func TestClient_LogParameters(t *testing.T) {
	at := time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("CET", 3600))
	for name, test := range map[string]struct {
		from   LogStart
		follow bool
		want   url.Values // the query without the parameter container
	}{
		"everything": {LogStart{}, false, url.Values{"follow": {"false"}}},
		"follow":     {LogStart{}, true, url.Values{"follow": {"true"}}},
		"last lines": {LogStart{Tail: 1}, false, url.Values{"follow": {"false"}, "tailLines": {"1"}}},
		"since":      {LogStart{Since: at}, false, url.Values{"follow": {"false"}, "sinceTime": {"2026-01-02T03:04:05Z"}}},
	} {
		test.want.Set("container", Container)
		client, urls := recorded(t, "")
		log, err := client.Log(t.Context(), Pod(testOptions()), test.from, test.follow)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = log.Close()
		if diff := cmp.Diff(test.want, (*urls)[0].Query()); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestClient_PrivilegedNamespaces(t *testing.T) {
	client, _ := recorded(t, `{"kind":"NamespaceList","items":[
		{"metadata":{"name":"system","labels":{"pod-security.kubernetes.io/enforce":"privileged"}}},
		{"metadata":{"name":"going","deletionTimestamp":"2026-01-02T03:04:05Z",
			"labels":{"pod-security.kubernetes.io/enforce":"privileged"}}},
		{"metadata":{"name":"shop","labels":{"pod-security.kubernetes.io/enforce":"restricted"}}},
		{"metadata":{"name":"default","labels":{"pod-security.kubernetes.io/warn":"restricted"}}},
		{"metadata":{"name":"gone","deletionTimestamp":"2026-01-02T03:04:05Z"}}]}`)
	labeled, unlabeled, err := client.PrivilegedNamespaces(t.Context())
	if diff := cmp.Diff([][]string{{"system"}, {"default"}}, [][]string{labeled, unlabeled}); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	refused := serve(t, func(w http.ResponseWriter, r *http.Request) {
		status(w, r, 403, metav1.StatusReasonForbidden)
	})
	labeled, unlabeled, err = refused.PrivilegedNamespaces(t.Context())
	if err == nil || labeled != nil || unlabeled != nil {
		t.Errorf("forbidden: got %v, %v, %v", labeled, unlabeled, err)
	}
}

func TestFactsOf_Kind(t *testing.T) {
	shell := testOptions()
	shell.Shell = true
	if !FactsOf(Pod(shell)).Shell || FactsOf(Pod(testOptions())).Shell || FactsOf(annotated(nil)).Shell {
		t.Error("Shell is true only for the pod of a shell")
	}
}

func TestIsWindows(t *testing.T) {
	node := func(system, label string) *corev1.Node {
		n := &corev1.Node{}
		n.Status.NodeInfo.OperatingSystem = system
		if label != "" {
			n.Labels = map[string]string{corev1.LabelOSStable: label}
		}
		return n
	}
	for _, test := range []struct {
		system, label string
		want          bool
	}{
		{"", "", false},
		{"linux", "linux", false},
		{"windows", "windows", true},
		{"windows", "", true},
		{"", "windows", true}, // the kubelet has not reported yet
	} {
		if got := IsWindows(node(test.system, test.label)); got != test.want {
			t.Errorf("system %q, label %q: got %v", test.system, test.label, got)
		}
	}
}

func TestNotReady(t *testing.T) {
	disk := corev1.NodeCondition{
		Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure",
	}
	for name, test := range map[string]struct {
		status          corev1.ConditionStatus
		reason, message string
		want            string
	}{
		"ready":   {corev1.ConditionTrue, "KubeletReady", "posting ready status", ""},
		"unknown": {corev1.ConditionUnknown, "NodeStatusUnknown", "no status", "is not ready (NodeStatusUnknown): no status"},
		"reason":  {corev1.ConditionFalse, "KubeletNotReady", "", "is not ready (KubeletNotReady)"},
		"message": {corev1.ConditionFalse, "", "no network", "is not ready: no network"},
		"neither": {corev1.ConditionFalse, "", "", "is not ready"},
	} {
		ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: test.status, Reason: test.reason, Message: test.message}
		n := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{disk, ready}}}
		if got := NotReady(n); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if got := NotReady(&corev1.Node{}); got != "" {
		t.Errorf("no conditions: got %q", got)
	}
}

func TestCreateError_MayExist(t *testing.T) {
	code := func(code int32) error {
		return fmt.Errorf("x: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: code}})
	}
	network := func(op string) error {
		return &url.Error{Op: "Post", Err: &net.OpError{Op: op, Err: errors.New("failed")}}
	}
	for name, test := range map[string]struct {
		err                             error
		rejected, serverFailed, notSent bool
	}{
		"403":                 {code(403), true, false, false},
		"499":                 {code(499), true, false, false},
		"500":                 {code(500), false, true, false},
		"503":                 {code(503), false, true, false},
		"connection refused":  {network("dial"), false, false, true},
		"refused by a proxy":  {network("proxyconnect"), false, false, true},
		"refused by SOCKS":    {network("socks connect"), false, false, true},
		"not trusted":         {&url.Error{Op: "Post", Err: &tls.CertificateVerificationError{}}, false, false, true},
		"not HTTPS":           {&url.Error{Op: "Post", Err: http.ErrSchemeMismatch}, false, false, true},
		"connection lost":     {network("read"), false, false, false},
		"response is cut off": {io.ErrUnexpectedEOF, false, false, false},
	} {
		e := newCreateError(Pod(testOptions()), test.err)
		if e.Rejected() != test.rejected || e.ServerFailed() != test.serverFailed || e.NotSent() != test.notSent {
			t.Errorf("%s: rejected %v, server failed %v, not sent %v", name, e.Rejected(), e.ServerFailed(), e.NotSent())
		}
	}
}

func TestIsReservedLabel(t *testing.T) {
	for label, want := range map[string]bool{nameLabel: true, managerLabel: true, "team": false, "": false} {
		if got := IsReservedLabel(label); got != want {
			t.Errorf("%q: got %v", label, got)
		}
	}
}

func TestName_FirstAndLastLetters(t *testing.T) {
	if got, want := podName("azAZ09", "abc234"), "node-shell-azaz09-abc234"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHeartbeatInterval(t *testing.T) {
	if got := HeartbeatInterval(DefaultHeartbeat); got != time.Minute {
		t.Errorf("got %v, want a fifth of %v", got, DefaultHeartbeat)
	}
}

func TestHeartbeatCommand_ID(t *testing.T) {
	for id, want := range map[string]string{"": "", "k1": "-k1"} {
		if got := HeartbeatCommand(false, id); got[len(got)-1] != want {
			t.Errorf("id %q: got %q, want %q at the end", id, got, want)
		}
	}
}

func TestCommand_Windows(t *testing.T) {
	o := Options{Windows: true}
	for _, args := range [][]string{{"ipconfig"}, {"cmd", "/c", "dir"}} {
		if got := o.Command(args); !slices.Equal(got, args) {
			t.Errorf("got %q, want %q", got, args)
		}
	}
	if got := o.Command(nil); !slices.Equal(got, []string{"powershell"}) {
		t.Errorf("no arguments: got %q", got)
	}
}

// Remove must not report success: without a response, it is not known whether
// the pod still exists.
func TestClient_RemoveAfterContextEnded(t *testing.T) {
	client := serve(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Remove(ctx, Pod(testOptions())); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// Client-side throttling would delay requests that a user waits for.
func TestClient_NotThrottled(t *testing.T) {
	client, _ := recorded(t, "")
	if limiter := client.core.GetRateLimiter(); limiter != nil {
		t.Errorf("limited to %v requests per second", limiter.QPS())
	}
}
