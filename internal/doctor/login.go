package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/kubeconfig"
	"kshell/internal/pod"
)

// pluginLimit is the time limit of the check that runs the credential plugin,
// which may wait for the user.
const pluginLimit = 2 * time.Minute

// tokenSoon is the remaining lifetime below which a token that is not renewed
// automatically is reported as a warning.
const tokenSoon = 24 * time.Hour

// checkCredentials reports which credentials are sent, and when they expire. It
// may run the credential plugin.
func checkCredentials(ctx context.Context, d *diagnosis) finding {
	if d.first.CredentialsDropped() {
		return warning("use an https:// address, or --http-credentials=send to send them unencrypted",
			"the credentials are not sent, because the address begins with http:// (--http-credentials)")
	}
	cfg := d.first.Config
	sent, err := d.resolve(ctx, cfg)
	if err != nil {
		return failure(ctx, err)
	}
	kinds := kindsOf(cfg)
	if len(kinds) == 0 {
		return warning("log in with the login command of your cluster, or choose a user by --context, --user or --token",
			"there are no credentials: the server treats you as system:anonymous")
	}
	f := passed("%s", strings.Join(kinds, ", "))
	renewed := cfg.ExecProvider != nil || cfg.AuthProvider != nil || cfg.BearerTokenFile != ""
	f = f.withExpiry("the token", tokenExpiry(sent.Token), renewed, tokenSoon)
	data := sent.Cert
	if data == nil {
		data = certificateOf(cfg)
	}
	return f.withExpiry("the client certificate", certificateExpiry(data), cfg.ExecProvider != nil, expirySoon)
}

// withExpiry returns f with the time at which a credential expires; the zero time
// means that it is not known. renewed means that the credential is renewed
// automatically. f becomes a failure if the credential has expired, and a warning
// if it expires within soon and is not renewed.
func (f finding) withExpiry(what string, expiry time.Time, renewed bool, soon time.Duration) finding {
	if expiry.IsZero() {
		return f
	}
	switch left := time.Until(expiry); {
	case left <= 0:
		f.status, f.hint = Failed, "log in again with the login command of your cluster"
		return f.with(fmt.Sprintf("%s expired on %s", what, minute(expiry)))
	case left < soon && !renewed:
		if f.status == OK {
			f.status, f.hint = Warning, "log in again soon with the login command of your cluster"
		}
		return f.with(fmt.Sprintf("%s expires on %s, in %s", what, minute(expiry), days(left)))
	}
	return f.with(fmt.Sprintf("%s is valid until %s", what, minute(expiry)))
}

// minute formats a time without seconds.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// resolve returns the credentials that cfg sends. It may run the credential
// plugin, which cannot be interrupted: when ctx ends, resolve returns its cause,
// and the goroutine that runs the plugin continues until the plugin or the process
// ends.
func (d *diagnosis) resolve(ctx context.Context, cfg *rest.Config) (apiclient.Credentials, error) {
	type result struct {
		apiclient.Credentials
		err error
	}
	resolved := make(chan result, 1)
	go func() {
		defer d.Env.Cleanup.OnPanic()
		c, err := apiclient.ResolveCredentials(cfg)
		resolved <- result{c, err}
	}()
	select {
	case r := <-resolved:
		return r.Credentials, r.err
	case <-ctx.Done():
		return apiclient.Credentials{}, context.Cause(ctx)
	}
}

// kindsOf returns the kinds of the credentials of cfg.
func kindsOf(cfg *rest.Config) []string {
	var kinds []string
	add := func(present bool, kind string) {
		if present {
			kinds = append(kinds, kind)
		}
	}
	add(cfg.ExecProvider == nil && cfg.BearerTokenFile == "" && cfg.BearerToken != "", "token")
	add(cfg.BearerTokenFile != "", "token from the file "+cfg.BearerTokenFile)
	if cfg.ExecProvider != nil {
		add(true, describeKind(kubeconfig.AuthPlugin, cfg.ExecProvider.Command))
	}
	if cfg.AuthProvider != nil {
		add(true, "auth-provider "+cfg.AuthProvider.Name)
	}
	add(cfg.Username != "", "user name and password")
	add(len(cfg.CertData) > 0 || cfg.CertFile != "", "client certificate")
	return kinds
}

// certificateOf returns the client certificate of cfg in PEM, or nil.
func certificateOf(cfg *rest.Config) []byte {
	if len(cfg.CertData) > 0 || cfg.CertFile == "" {
		return cfg.CertData
	}
	info, err := os.Stat(cfg.CertFile)
	if err != nil || !info.Mode().IsRegular() { // a pipe can be read only once
		return nil
	}
	data, err := os.ReadFile(cfg.CertFile)
	if err != nil {
		return nil // requests fail, too, and report the reason
	}
	return data
}

// certificateExpiry returns the time at which the first certificate in PEM data
// expires, or the zero time.
func certificateExpiry(data []byte) time.Time {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil {
			return c.NotAfter
		}
	}
	return time.Time{}
}

// tokenExpiry returns the time at which a token expires, if it is a JWT (RFC 7519),
// or the zero time. The signature is not checked.
func tokenExpiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expiry float64 `json:"exp"`
	}
	if json.Unmarshal(data, &claims) != nil || claims.Expiry <= 0 || claims.Expiry > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expiry), 0)
}

// checkIdentity reports the user name and the groups that the server derives from
// the credentials. Servers before Kubernetes 1.28 do not report them. For these,
// checkIdentity makes an access review, which shows that the server accepts the
// credentials.
func checkIdentity(ctx context.Context, d *diagnosis) finding {
	identity, err := d.cluster.Pods().Identity(ctx)
	if err == nil {
		if identity.Anonymous() {
			return finding{
				status: Failed, message: "the server treats you as system:anonymous",
				hint: "log in with the login command of your cluster, or choose a user by --context, --user or --token",
			}
		}
		d.user = identity.Username
		f := passed("%s", identity.Username)
		if len(identity.Groups) > 0 {
			f = f.with("groups: " + strings.Join(identity.Groups, ", "))
		}
		return f
	}
	if rejects(err) || ctx.Err() != nil {
		return loginFailure(ctx, err)
	}
	_, _, reviewErr := d.cluster.Pods().DeniedRules(ctx, d.conn.Namespace, pod.Rule{Verb: "get", Resource: "pods"})
	if reviewErr != nil && !isUnknown(reviewErr) {
		return loginFailure(ctx, cmp.Or(reviewErr, err))
	}
	return passed("the server accepts the credentials; it does not report the user (Kubernetes before 1.28?)")
}

// loginFailure returns the finding for a request of checkIdentity that failed.
func loginFailure(ctx context.Context, err error) finding {
	var request *pod.RequestError
	if errors.As(err, &request) {
		err = request.Err
	}
	return failure(ctx, err)
}

// rejects reports whether the server does not accept the credentials.
func rejects(err error) bool {
	status, ok := apiclient.ServerStatus(err)
	return apierrors.IsUnauthorized(err) || ok && status.Code == http.StatusForbidden &&
		apiclient.IsAnonymous(status.Message)
}

// isUnknown reports whether the server refused to create a review because it does
// not have the resource, or because the user must not create it.
func isUnknown(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) || apiclient.IsDenied(err)
}
