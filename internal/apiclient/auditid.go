package apiclient

import (
	"crypto/rand"
	"fmt"
	"net/http"

	"k8s.io/client-go/rest"
)

// auditIDHeader is the request header that contains the audit ID. API servers
// accept the ID of the client (k8s.io/apiserver, endpoints/filters/audit_init.go)
// and write it to the field auditID of the audit log. Without the header, they
// generate an ID for each request.
const auditIDHeader = "Audit-ID"

// NewAuditID returns a new audit ID: a random UUID, as API servers generate it.
func NewAuditID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])  // never fails
	b[6] = b[6]&0x0f | 0x40 // version 4
	b[8] = b[8]&0x3f | 0x80 // the variant of RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// SetAuditID makes clients of cfg send id as the audit ID of each request.
func SetAuditID(cfg *rest.Config, id string) {
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return auditTransport{next, id} })
}

// auditTransport adds the audit ID to each request.
type auditTransport struct {
	http.RoundTripper
	id string
}

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (t auditTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t auditTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set(auditIDHeader, t.id)
	return t.RoundTripper.RoundTrip(req)
}
