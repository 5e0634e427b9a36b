package suite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kshell/test/e2e/harness"
)

// auditEvent is a part of an event of audit.k8s.io/v1.
type auditEvent struct {
	AuditID   string `json:"auditID"`
	Stage     string `json:"stage"`
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	User      struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef struct {
		Resource, Subresource, Namespace, Name string
	} `json:"objectRef"`
	RequestObject json.RawMessage `json:"requestObject"`
}

// what returns the verb and the resource of the request: "get pods/exec".
func (e *auditEvent) what() string {
	resource := e.ObjectRef.Resource
	if e.ObjectRef.Subresource != "" {
		resource += "/" + e.ObjectRef.Subresource
	}
	return e.Verb + " " + resource
}

// audited waits until the audit log of the server contains an event with the
// audit ID for each of the requests in want, and returns all such events.
func audited(t *testing.T, s harness.Server, id string, want ...string) []auditEvent {
	t.Helper()
	var found []auditEvent
	eventually(t, fmt.Sprintf("the audit log has %q with the ID %s", want, id), func(context.Context) (bool, error) {
		log, err := os.ReadFile(cluster.AuditLog(s))
		if err != nil {
			return false, err
		}
		found = nil
		missing := slices.Clone(want)
		for line := range bytes.Lines(log) {
			var e auditEvent
			if !bytes.Contains(line, []byte(id)) || json.Unmarshal(line, &e) != nil {
				continue // of another command, or not completely written
			}
			if e.AuditID == id {
				found = append(found, e)
				missing = slices.DeleteFunc(missing, func(w string) bool { return w == e.what() })
			}
		}
		if len(missing) > 0 {
			return false, fmt.Errorf("missing: %q", missing)
		}
		return true, nil
	})
	return found
}

// auditIDIn returns the audit ID in a status record.
func auditIDIn(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var record struct{ AuditID string }
	must(t, json.Unmarshal(text, &record))
	if record.AuditID == "" {
		t.Fatalf("no audit ID in %s", text)
	}
	return record.AuditID
}

// The API server writes the audit ID that kshell shows, and the reason, to its
// audit log, for each request of a command.
func TestAudit_Exec(t *testing.T) {
	inCI(t)
	for _, s := range []harness.Server{harness.MainServer, harness.TranslatingServer} {
		t.Run(string(s), func(t *testing.T) {
			status := filepath.Join(t.TempDir(), "status")
			r := programFor(s).Run(t, nil,
				"exec", "--reason", "INC-4711 disk full", "--status-file", status, "web", "--", "sh", "-c", "exit 3")
			if r.Code != 3 {
				t.Fatalf("%+v", r)
			}
			id := auditIDIn(t, status)
			for _, e := range audited(t, s, id, "get pods", "get pods/exec") {
				if !strings.HasSuffix(e.UserAgent, ` reason="INC-4711 disk full"`) || e.User.Username != harness.Admin {
					t.Errorf("event %+v", e)
				}
			}
		})
	}
}

func TestAudit_NodeShell(t *testing.T) {
	inCI(t)
	n, status := nodes(t), filepath.Join(t.TempDir(), "status")
	p := programFor(harness.MainServer)
	r := p.Run(t, nil,
		"node-shell", "--image", n.Image, "-n", n.Namespace, "--reason", "INC-4711", "--status-file", status,
		"node1", "--", "true")
	if r.Code != 0 {
		t.Fatalf("%+v", r)
	}
	for _, e := range audited(t, harness.MainServer, auditIDIn(t, status),
		"create pods", "get pods/exec", "delete pods", "create selfsubjectaccessreviews") {
		var pod struct {
			Metadata struct{ Annotations map[string]string }
		}
		if e.what() != "create pods" {
			continue
		}
		err := json.Unmarshal(e.RequestObject, &pod)
		if err != nil || pod.Metadata.Annotations["kshell/reason"] != "INC-4711" {
			t.Errorf("the audit log has no annotation with the reason: %s (%v)", e.RequestObject, err)
		}
	}
}
